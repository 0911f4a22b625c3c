"""Capture finds exactly the products that the definitions of the models say."""

from collections import Counter
from collections.abc import Callable, Iterable

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from tests.workloads import capture_models as models  # noqa: E402
from tests.workloads.capture_models import capture_resnet, capture_vit, rows_of  # noqa: E402
from workloads import Pass, Workload  # noqa: E402
from workloads.capture import capture_training_step  # noqa: E402
from workloads.lowering import lower_conv  # noqa: E402
from workloads.networks import resnet18_64  # noqa: E402

Row = models.Row


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def unoriented(rows: Iterable[Row]) -> Counter[tuple[object, ...]]:
    """Count rows; a product of activations may be the transpose of the one listed."""
    return Counter((p, layer, b, k, *sorted((m, n))) for p, layer, b, m, k, n in rows)


def layers_only(rows: Iterable[Row]) -> Counter[Row]:
    return Counter(row for row in rows if not row[1].endswith("attn"))


# Ground truth, and that the comparison can fail


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_transformer_has_the_41_products_of_its_definition(fused: bool, device: str) -> None:
    found, wanted = rows_of(capture_vit(fused, device)), models.vit_rows()
    assert len(wanted) == 41
    assert unoriented(found) == unoriented(wanted)
    assert layers_only(found) == layers_only(wanted), "layers also have the orientation"


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_residual_network_has_the_products_of_its_definition(device: str) -> None:
    assert Counter(rows_of(capture_resnet(device))) == Counter(models.resnet_rows())


def test_wrong_lists_do_not_match() -> None:
    """Negative controls: another batch, another width, BP and WU exchanged, a product missing."""
    found, wanted = unoriented(rows_of(capture_vit(fused=False))), models.vit_rows()
    exchange = {"FF": "FF", "BP": "WU", "WU": "BP"}
    batch = [(p, layer, b * 3, m * 3, k, n) for p, layer, b, m, k, n in wanted]
    width = [(p, layer, b, m + 1, k + 1, n + 1) for p, layer, b, m, k, n in wanted]
    swapped = [(exchange[p], *rest) for p, *rest in wanted]
    assert not found & unoriented(batch)
    assert not found & unoriented(width)
    assert (found & unoriented(swapped)).total() == 14  # the forward products
    assert found != unoriented(wanted[1:])


def test_autocast_does_not_hide_the_weights() -> None:
    workload = capture_vit(fused=False, autocast="bf16")
    assert unoriented(rows_of(workload)) == unoriented(models.vit_rows())
    assert {op.left.dtype for op in workload.matmuls} == {"bf16"}
    gradients = {op.out.dtype for op in workload.matmuls if op.pass_ is Pass.WU}
    assert gradients == {"fp32"}, "the optimiser gets fp32 gradients of fp32 weights"


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_block_is_computed_again_and_named_so(reentrant: bool) -> None:
    class Checkpointed(models.TinyViT):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.position
            for block in self.blocks:
                x = checkpoint(block, x, use_reentrant=reentrant)
            return self.head(self.ln(x)[:, 0])

    images, labels = models.vit_inputs()
    workload = capture_training_step(Checkpointed(), images, labels)
    assert unoriented(rows_of(workload)) == unoriented(models.vit_rows())
    again = rows_of(workload, recompute=True)
    inside = [row for row in models.vit_rows() if row[0] == "FF" and row[1].startswith("blocks")]
    assert unoriented(again) <= unoriented(inside)
    # Without re-entry PyTorch stops early: the last layer's output is not needed again.
    assert len(again) >= len(inside) - 2
    assert any(f"{len(again)} forward products are computed again" in n for n in workload.notes)


def test_fused_attention_computes_its_scores_again() -> None:
    again = rows_of(capture_vit(fused=True), recompute=True)
    scores = ("FF", models.BATCH * models.HEADS, models.TOKENS, models.HEAD_DIM, models.TOKENS)
    assert [(row[0], *row[2:]) for row in again] == [scores, scores]


def test_channels_last_changes_nothing() -> None:
    images, labels = models.resnet_inputs()
    module = models.TinyResNet().to(memory_format=torch.channels_last)
    workload = capture_training_step(module, images.to(memory_format=torch.channels_last), labels)
    assert Counter(rows_of(workload)) == Counter(models.resnet_rows())


# FLOPs against PyTorch's own counter


def counted_flops(run: Callable[[], torch.Tensor]) -> int:
    with FlopCounterMode(display=False) as counter:
        run().backward()
    return counter.get_total_flops()


def flops_as_counted(workload: Workload) -> int:
    """Two per MAC, with what PyTorch's counter does differently for convolutions.

    BP is counted in the form of products first, scattered sums after. dW of a grouped convolution
    is counted `groups` times too often: the counter takes it for dense between all channels.
    """
    plain = sum(
        op.macs * (op.conv.groups if op.conv and op.pass_ is Pass.WU else 1)
        for op in workload.matmuls
        if op.conv is None or op.pass_ is not Pass.BP
    )
    backward = {op.layer: op.conv for op in workload.matmuls if op.conv and op.pass_ is Pass.BP}
    scattered = sum(
        op.macs
        for layer, conv in backward.items()
        for op in lower_conv(layer, conv, Pass.BP, form="col2im")
    )
    return 2 * (plain + scattered)


def test_flops_of_a_transformer_equal_the_counter_of_pytorch() -> None:
    images, labels = models.vit_inputs()
    module = models.TinyViT()
    wanted = counted_flops(lambda: F.cross_entropy(module(images), labels))
    assert flops_as_counted(capture_vit(fused=False)) == wanted


def test_flops_of_a_residual_network_equal_the_counter_of_pytorch() -> None:
    images, labels = models.resnet_inputs()
    module = models.TinyResNet()
    wanted = counted_flops(lambda: F.cross_entropy(module(images), labels))
    assert flops_as_counted(capture_resnet()) == wanted


def test_flops_of_odd_convolutions_equal_the_counter_of_pytorch() -> None:
    """Groups, dilation, uneven strides and kernels, a 1-D convolution, all in one step."""
    module = nn.Sequential(
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(2, 0), dilation=(1, 2), groups=2),
        nn.Conv2d(6, 9, 3, stride=2, padding=1, groups=3),
        nn.Flatten(2),
        nn.Conv1d(9, 5, 3, stride=2, dilation=2, padding=3),
        nn.Flatten(),
        nn.LazyLinear(3),
    )
    images = torch.randn(2, 4, 11, 10)
    module(images)
    wanted = counted_flops(lambda: module(images).square().mean())
    workload = capture_training_step(module, images, lambda out: out.square().mean())
    assert flops_as_counted(workload) == wanted
    (line,) = (op for op in workload.matmuls if op.layer == "3" and op.pass_ is Pass.FF)
    assert line.conv is not None
    assert (line.conv.in_hw[0], line.conv.kernel, line.conv.stride) == (1, (1, 3), (1, 2))


def test_a_transposed_convolution_is_a_convolution_with_ff_and_bp_exchanged() -> None:
    """Stride 2 and kernel 2: each output sees one tap, so the counter's form is the same work."""
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2, stride=2)
    )
    images = torch.randn(2, 3, 5, 5)
    workload = capture_training_step(module, images, lambda out: out.square().sum())
    up = [row for row in rows_of(workload) if row[1] == "2"]
    positions = 2 * 5 * 5
    assert Counter(up) == Counter(
        [
            *[("FF", "2", 1, positions, 8, 6)] * 4,  # one product for each of 2x2 phases
            ("BP", "2", 1, positions, 4 * 6, 8),
            ("WU", "2", 1, 4 * 6, positions, 8),
        ]
    )
    assert flops_as_counted(workload) == counted_flops(lambda: module(images).square().sum())
    forward = next(op for op in workload.matmuls if op.layer == "2" and op.pass_ is Pass.FF)
    assert (forward.left.tensor, forward.right.tensor, forward.out.tensor) == ("X", "W", "Y")


# The same network from its table


class TorchResNet18(nn.Module):
    """ResNet-18 for 64x64 images, written with the layer names of its table."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.blocks = nn.ModuleDict()
        channels = 64
        for stage, width in enumerate((64, 128, 256, 512), start=1):
            for index in (0, 1):
                stride = 2 if stage > 1 and index == 0 else 1
                block = nn.Module()
                block.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
                block.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
                if stride == 2:
                    block.shortcut = nn.Conv2d(channels, width, 1, 2, bias=False)
                self.blocks[f"layer{stage}-{index}"] = block
                channels = width
        self.fc = nn.Linear(512, 200)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 3, 2, 1)
        for block in self.blocks.values():
            skip = block.shortcut(x) if hasattr(block, "shortcut") else x
            x = F.relu(skip + block.conv2(F.relu(block.conv1(x))))
        return self.fc(x.mean((2, 3)))


def test_a_captured_resnet18_has_the_products_of_the_table() -> None:
    batch = 2
    with torch.device("meta"):
        module, images = TorchResNet18(), torch.randn(batch, 3, 64, 64)
        labels = torch.zeros(batch, dtype=torch.int64)
    captured = capture_training_step(module, images, labels)
    table = resnet18_64(batch=batch).training_step()

    def described(workload: Workload) -> Counter[tuple[object, ...]]:
        return Counter(
            (
                op.layer.removeprefix("blocks.").replace("-", "."),
                *(op.pass_, op.kind, op.position, op.batch, op.m, op.k, op.n, op.k_run, op.conv),
                *(side.elements for side in (op.left, op.right, op.out)),
            )
            for op in workload.matmuls
        )

    assert described(captured) == described(table)
