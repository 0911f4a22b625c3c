"""Train two small networks on real data and hand over one training step of each.

The data are scikit-learn's 1,797 handwritten digits (8x8 grey levels), enlarged to 32x32. These are
the traces that come with the package; each is made again, on one core in about two minutes, by

    sparsight capture examples/capture_digits.py:digits_resnet -o digits-resnet.trace
    sparsight capture examples/capture_digits.py:digits_vit -o digits-vit.trace

Everything is seeded. The shapes of a trace are the same on every machine; its statistics depend on
the order in which a machine adds floating-point numbers, and so agree only closely.

Needs `pip install 'sparsight[torch]' scikit-learn`.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workloads.capture import TrainingStep

SEED = 20231
CAPTURE_BATCH = 256
HELD_OUT = 360
LOSS_SCALE = 1024.0  # keeps the fp16 gradients of the captured step away from underflow


def digits_resnet() -> TrainingStep:
    """Train the residual network; return one step of it in mixed precision."""
    return _trained(ResNet, "digits-resnet", epochs=8, batch=64, rate=2e-3)


def digits_vit() -> TrainingStep:
    """Train the transformer; return one step of it in mixed precision."""
    return _trained(ViT, "digits-vit", epochs=40, batch=64, rate=1e-3)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm around which the input skips (He et al., 2016)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, side, side) to (batch, width, side / stride, side / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.shortcut(x) + self.bn2(self.conv2(y)))


class ResNet(nn.Module):
    """A stem and four residual blocks of 32, 64, 128 and 256 channels on 32x32 grey images."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        widths = (32, 32, 64, 128, 256)
        self.blocks = nn.ModuleList(
            ResidualBlock(channels, width, stride=1 if width == channels else 2)
            for channels, width in pairwise(widths)
        )
        self.fc = nn.Linear(256, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, 32, 32) to (batch, classes)."""
        x = F.relu(self.bn1(self.conv1(x)))
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean((2, 3)))


class EncoderBlock(nn.Module):
    """Self-attention and an MLP, each after a layer norm (Dosovitskiy et al., 2021)."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, tokens, dim) to the same shape."""
        x = x + self.proj(self.attention(self.ln1(x)))
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x))))

    def attention(self, x: Tensor) -> Tensor:
        """Mix tokens: softmax(Q K^T / sqrt(d)) V, with every product written out."""
        batch, tokens, dim = x.shape
        parts = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) * (dim // self.heads) ** -0.5
        return (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, dim)


class ViT(nn.Module):
    """Four encoder blocks of width 192 on the 8x8 patches of 32x32 grey images."""

    def __init__(self, classes: int = 10, *, dim: int = 192, patch: int = 8) -> None:
        super().__init__()
        tokens = (32 // patch) ** 2 + 1
        self.patch = nn.Conv2d(1, dim, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(0.02 * torch.randn(1, tokens, dim))
        self.blocks = nn.ModuleList(EncoderBlock(dim, 6, 2 * dim) for _ in range(4))
        self.ln = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, 32, 32) to (batch, classes)."""
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x)[:, 0])


def load_digits() -> tuple[Tensor, Tensor]:
    """Return the images as (1797, 1, 32, 32), normalised, in a seeded order, and their classes."""
    from sklearn import datasets

    pixels, labels = datasets.load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    images = F.interpolate((images - images.mean()) / images.std(), (32, 32), mode="bilinear")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))
    return images[order], torch.tensor(labels)[order]


def step_of(
    module: nn.Module, images: Tensor, labels: Tensor, name: str, *notes: str
) -> TrainingStep:
    """Return the step on these images in mixed precision (fp16, fp32 weights, scaled loss)."""

    def loss(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels) * LOSS_SCALE

    return TrainingStep(
        module=module, inputs=images, loss=loss, name=name, autocast="fp16", notes=notes
    )


def _trained(
    build: type[nn.Module], name: str, *, epochs: int, batch: int, rate: float
) -> TrainingStep:
    torch.manual_seed(SEED)
    images, labels = load_digits()
    module = build()
    train(module, images[HELD_OUT:], labels[HELD_OUT:], epochs=epochs, batch=batch, rate=rate)
    right = accuracy(module, images[:HELD_OUT], labels[:HELD_OUT])
    chosen = slice(HELD_OUT, HELD_OUT + CAPTURE_BATCH)
    note = f"Trained for {epochs} epochs: {right:.1%} of {HELD_OUT} held-out digits are right."
    return step_of(module.train(), images[chosen], labels[chosen], name, note)


def train(
    module: nn.Module, images: Tensor, labels: Tensor, *, epochs: int, batch: int, rate: float
) -> None:
    """Train with AdamW on images moved at random by up to 2 pixels, one warm-up and decay."""
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.05)
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(batch)[: len(images) // batch]:
            optimiser.zero_grad()
            F.cross_entropy(module(moved(images[chosen])), labels[chosen]).backward()
            optimiser.step()
            schedule.step()


def moved(images: Tensor) -> Tensor:
    """Move all images of a batch by the same random number of rows and columns."""
    down, right = (int(shift) for shift in torch.randint(-2, 3, (2,)))
    return images.roll((down, right), (2, 3))


def accuracy(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images whose class the module finds."""
    module.eval()
    with torch.no_grad():
        return float((module(images).argmax(1) == labels).float().mean())
