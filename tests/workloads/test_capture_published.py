"""Published networks, written with PyTorch and captured on the meta device: no memory, exact MACs.

The figures are those that the authors or torchvision state, and those of our own tables.
"""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from workloads import Pass, Workload, networks  # noqa: E402
from workloads.capture import capture_training_step  # noqa: E402


def captured(build: type[nn.Module], *shape: int) -> Workload:
    with torch.device("meta"):
        return capture_training_step(build(), torch.randn(shape), lambda out: out.sum())


def giga_macs(workload: Workload, pass_: Pass) -> float:
    return workload.only(pass_).macs / 1e9


class Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        changes = stride > 1 or channels != 4 * width
        self.shortcut = nn.Conv2d(channels, 4 * width, 1, stride, bias=False) if changes else None
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in (width, width, 4 * width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = x if self.shortcut is None else self.shortcut(x)
        for conv, norm in zip((self.conv1, self.conv2), self.norms, strict=False):
            x = F.relu(norm(conv(x)))
        return F.relu(self.norms[2](self.conv3(x)) + skip)


class ResNet50(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, channels, blocks = nn.Conv2d(3, 64, 7, 2, 3, bias=False), 64, []
        for stage, depth in enumerate((3, 4, 6, 3)):
            for index in range(depth):
                width, stride = 64 << stage, 2 if stage and not index else 1
                blocks.append(Bottleneck(channels, width, stride))
                channels = 4 * width
        self.blocks, self.fc = nn.Sequential(*blocks), nn.Linear(2048, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1))
        return self.fc(x.mean((2, 3)))


class ViTB16(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 768, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, 768))
        layer = nn.TransformerEncoderLayer(
            768, 12, 3072, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
        self.head = nn.Linear(768, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        return self.head(self.encoder(x)[:, 0])


class LlamaBlock(nn.Module):
    """One block of LLaMA-7B; rotary positions as complex numbers, as its authors write them."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = (
            nn.Linear(4096, 3 * 4096, bias=False),
            nn.Linear(4096, 4096, bias=False),
        )
        self.gate, self.up = (nn.Linear(4096, 11008, bias=False) for _ in range(2))
        self.down = nn.Linear(11008, 4096, bias=False)
        self.norms = nn.ModuleList(nn.RMSNorm(4096) for _ in range(2))
        self.register_buffer("turns", torch.ones(2048, 1, 64, dtype=torch.complex64))

    def rotated(self, x: torch.Tensor) -> torch.Tensor:
        pairs = torch.view_as_complex(x.unflatten(-1, (64, 2)))
        return torch.view_as_real(pairs * self.turns).flatten(-2).transpose(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norms[0](x)).view(1, 2048, 3, 32, 128).unbind(2)
        sides = self.rotated(q), self.rotated(k), v.transpose(1, 2)
        mixed = F.scaled_dot_product_attention(*sides, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(-2))
        y = self.norms[1](x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


def test_resnet50_has_the_published_macs() -> None:
    """4.09 G (torchvision); BP leaves out the stem, of 112 x 112 positions by 7 x 7 x 3 x 64."""
    step = captured(ResNet50, 1, 3, 224, 224)
    stem = 112 * 112 * 49 * 3 * 64
    assert giga_macs(step, Pass.FF) == pytest.approx(4.09, abs=0.005)
    assert step.only(Pass.FF).macs == step.only(Pass.WU).macs == networks.resnet50(batch=1).macs
    assert step.only(Pass.BP).macs == step.only(Pass.FF).macs - stem


def test_vit_b16_has_the_published_macs() -> None:
    """17.56 G (torchvision). Products of attention have two gradients, weights one each."""
    step = captured(ViTB16, 1, 3, 224, 224)
    attention = 12 * 2 * 12 * 197 * 197 * 64
    forward = step.only(Pass.FF).macs
    assert giga_macs(step, Pass.FF) == pytest.approx(17.56, abs=0.005)
    assert step.only(Pass.WU).macs == forward - attention
    assert step.only(Pass.BP).macs == forward - 196 * 768 * 768 + attention


def test_a_llama_7b_block_has_the_published_macs() -> None:
    """Its matrices have (6.738 G - 2 x 32000 x 4096 - 65 x 4096) / 32 weights, one MAC a token."""
    step = captured(LlamaBlock, 1, 2048, 4096)
    weights = (6_738_415_616 - 2 * 32000 * 4096 - 65 * 4096) // 32
    attention = 2 * 32 * 2048 * 2048 * 128
    assert step.only(Pass.FF).macs == 2048 * weights + attention
    assert step.only(Pass.FF).macs == networks.llama_7b_block().macs
    assert step.only(Pass.WU).macs == 2048 * weights
    assert not [note for note in step.notes if note.startswith("NOT in this workload")]
