"""Small PyTorch models whose matrix products are enumerated by hand.

The lists are written down from the definition of the models, without the code under test. A row is
(pass, layer, batch, m, k, n).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workloads import Workload
from workloads.capture import TrainingStep, capture_step, capture_training_step

Row = tuple[str, str, int, int, int, int]

BATCH, CLASSES = 2, 7
DIM, HEADS, HIDDEN, PATCH, SIDE = 24, 3, 40, 8, 16
PATCHES = (SIDE // PATCH) ** 2
TOKENS = PATCHES + 1
HEAD_DIM = DIM // HEADS


class Attention(nn.Module):
    """Multi-head self-attention; explicit products, or the fused function."""

    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.qkv = nn.Linear(DIM, 3 * DIM)
        self.proj = nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, HEADS, HEAD_DIM).permute(2, 0, 3, 1, 4)
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = (q @ k.transpose(-2, -1) * HEAD_DIM**-0.5).softmax(-1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, DIM))


class Block(nn.Module):
    """Pre-norm encoder block."""

    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.ln1, self.attn = nn.LayerNorm(DIM), Attention(fused=fused)
        self.ln2 = nn.LayerNorm(DIM)
        self.fc1, self.fc2 = nn.Linear(DIM, HIDDEN), nn.Linear(HIDDEN, DIM)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln1(x))
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x))))


class TinyViT(nn.Module):
    """Two blocks on 16x16 images, patches of 8, a class token."""

    def __init__(self, *, fused: bool = False) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, DIM, PATCH, stride=PATCH)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, DIM))
        self.position = nn.Parameter(torch.zeros(1, TOKENS, DIM))
        self.blocks = nn.ModuleList(Block(fused=fused) for _ in range(2))
        self.ln = nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x)[:, 0])


def vit_rows() -> list[Row]:
    """14 forward products, 17 backward (9 of layers, 8 of attention), 10 of weights."""
    rows = BATCH * TOKENS
    patch_k = 3 * PATCH * PATCH
    found: list[Row] = [
        ("FF", "patch", 1, BATCH * PATCHES, patch_k, DIM),
        ("WU", "patch", 1, patch_k, BATCH * PATCHES, DIM),
        *linear("head", BATCH, DIM, CLASSES),
    ]
    heads = BATCH * HEADS
    for block in ("blocks.0", "blocks.1"):
        attention = f"{block}.attn"
        found += linear(f"{attention}.qkv", rows, DIM, 3 * DIM)
        found += linear(f"{attention}.proj", rows, DIM, DIM)
        found += linear(f"{block}.fc1", rows, DIM, HIDDEN)
        found += linear(f"{block}.fc2", rows, HIDDEN, DIM)
        found += [
            ("FF", attention, heads, TOKENS, HEAD_DIM, TOKENS),  # Q K^T
            ("FF", attention, heads, TOKENS, TOKENS, HEAD_DIM),  # P V
            ("BP", attention, heads, TOKENS, HEAD_DIM, TOKENS),  # dP = dO V^T
            ("BP", attention, heads, TOKENS, TOKENS, HEAD_DIM),  # dV = P^T dO
            ("BP", attention, heads, TOKENS, TOKENS, HEAD_DIM),  # dQ = dS K
            ("BP", attention, heads, TOKENS, TOKENS, HEAD_DIM),  # dK = dS^T Q
        ]
    return found


class TinyResNet(nn.Module):
    """A stem, a plain block, a block with stride 2 and a 1x1 shortcut, a depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8, 3)
        self.a1, self.a2 = conv(8, 8, 3), conv(8, 8, 3)
        self.b1, self.b2 = conv(8, 16, 3, stride=2), conv(16, 16, 3)
        self.shortcut = conv(8, 16, 1, stride=2)
        self.depthwise = conv(16, 16, 3, groups=16)
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in (8, 8, 8, 16, 16, 16, 16))
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        stem, a1, a2, b1, b2, shortcut, depthwise = self.norms
        x = F.relu(stem(self.stem(x)))
        x = F.relu(x + a2(self.a2(F.relu(a1(self.a1(x))))))
        x = F.relu(shortcut(self.shortcut(x)) + b2(self.b2(F.relu(b1(self.b1(x))))))
        x = F.relu(depthwise(self.depthwise(x)))
        return self.fc(x.mean((2, 3)))


def conv(i: int, o: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(i, o, kernel, stride, kernel // 2, groups=groups, bias=False)


RESNET_SIDE = 12


def resnet_rows() -> list[Row]:
    """8 forward products, 7 layers with a backward pass (one in 4 phases), 8 of weights."""
    full, half = BATCH * RESNET_SIDE**2, BATCH * (RESNET_SIDE // 2) ** 2
    found: list[Row] = [
        ("FF", "stem", 1, full, 27, 8),
        ("WU", "stem", 1, 27, full, 8),
        ("FF", "b1", 1, half, 72, 16),
        ("WU", "b1", 1, 72, half, 16),
        # Stride 2, padding 1: rows of even index see the middle tap, odd rows the two outer ones.
        *(("BP", "b1", 1, half, 16 * taps, 8) for taps in (1, 2, 2, 4)),
        ("FF", "shortcut", 1, half, 8, 16),
        ("WU", "shortcut", 1, 8, half, 16),
        ("BP", "shortcut", 1, half, 16, 8),  # a quarter of the positions, the others are zero
        ("FF", "depthwise", 16, half, 9, 1),
        ("WU", "depthwise", 16, 9, half, 1),
        ("BP", "depthwise", 16, half, 9, 1),
        *linear("fc", BATCH, 16, CLASSES),
    ]
    for name, channels, positions in (("a1", 8, full), ("a2", 8, full), ("b2", 16, half)):
        found += [
            ("FF", name, 1, positions, 9 * channels, channels),
            ("BP", name, 1, positions, 9 * channels, channels),
            ("WU", name, 1, 9 * channels, positions, channels),
        ]
    return found


def linear(name: str, rows: int, i: int, o: int) -> list[Row]:
    return [
        ("FF", name, 1, rows, i, o),
        ("BP", name, 1, rows, o, i),
        ("WU", name, 1, i, rows, o),
    ]


def vit_inputs(device: str = "cpu") -> tuple[Tensor, Tensor]:
    return images(SIDE, device)


def resnet_inputs(device: str = "cpu") -> tuple[Tensor, Tensor]:
    return images(RESNET_SIDE, device)


def images(side: int, device: str) -> tuple[Tensor, Tensor]:
    """Random images and their classes."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(BATCH, 3, side, side, generator=generator)
    return pixels.to(device), torch.arange(BATCH).to(device)


def rows_of(workload: Workload, *, recompute: bool = False) -> list[Row]:
    return [
        (str(op.pass_), op.layer, op.batch, op.m, op.k, op.n)
        for op in workload.matmuls
        if ("recompute" in op.name) == recompute
    ]


def capture_vit(fused: bool, device: str = "cpu", **settings: str) -> Workload:
    images, labels = vit_inputs(device)
    module = TinyViT(fused=fused).to(device)
    step = TrainingStep(module=module, inputs=images, loss=labels, **settings)
    return capture_step(step, statistics=False).workload


def capture_resnet(device: str = "cpu", **options: object) -> Workload:
    images, labels = resnet_inputs(device)
    return capture_training_step(TinyResNet().to(device), images, labels, **options)
