"""Capture finds exactly the products that the definitions of the models say."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.nn.utils import prune  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from tests.workloads import capture_models as models  # noqa: E402
from workloads import MatMul, Pass, Workload  # noqa: E402
from workloads.capture import TrainingStep, capture_step, capture_training_step  # noqa: E402
from workloads.lowering import lower_conv  # noqa: E402
from workloads.networks import resnet18_64  # noqa: E402
from workloads.trace import read_trace, write_trace  # noqa: E402

Row = models.Row


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def rows_of(workload: Workload, *, recompute: bool = False) -> list[Row]:
    return [
        (str(op.pass_), op.layer, op.batch, op.m, op.k, op.n)
        for op in workload.matmuls
        if ("recompute" in op.name) == recompute
    ]


def unoriented(rows: Iterable[Row]) -> Counter[tuple[object, ...]]:
    """Count rows; a product of activations may be the transpose of the one listed."""
    return Counter((p, layer, b, k, *sorted((m, n))) for p, layer, b, m, k, n in rows)


def layers_only(rows: Iterable[Row]) -> Counter[Row]:
    return Counter(row for row in rows if not row[1].endswith("attn"))


def capture_vit(fused: bool, device: str = "cpu", **settings: str) -> Workload:
    images, labels = models.vit_inputs(device)
    module = models.TinyViT(fused=fused).to(device)
    step = TrainingStep(module=module, inputs=images, loss=labels, **settings)
    return capture_step(step, statistics=False).workload


def capture_resnet(device: str = "cpu", **options: object) -> Workload:
    images, labels = models.resnet_inputs(device)
    return capture_training_step(models.TinyResNet().to(device), images, labels, **options)


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


# What else a capture says about an operation


def test_the_first_and_the_last_layer_are_marked() -> None:
    positions = {op.layer: op.position for op in capture_resnet().matmuls}
    assert positions.pop("stem") == "first"
    assert positions.pop("fc") == "last"
    assert set(positions.values()) == {"inner"}


def test_convolutions_keep_their_geometry() -> None:
    convs = {op.layer: op.conv for op in capture_resnet().matmuls if op.kind == "conv"}
    b1, depthwise = convs["b1"], convs["depthwise"]
    assert b1 is not None
    assert depthwise is not None
    assert (b1.kernel, b1.stride, b1.padding) == ((3, 3), (2, 2), (1, 1))
    assert (b1.in_hw, b1.out_hw) == ((12, 12), (6, 6))
    assert depthwise.groups == 16


def test_the_work_between_the_products_is_counted_by_kind() -> None:
    workload = capture_resnet()
    kinds = Counter((op.kind, op.pass_) for op in workload.vector_ops)
    norms, relus = 7, 6
    assert kinds["batchnorm", Pass.FF] == 2 * norms  # statistics, then normalise
    assert kinds["batchnorm", Pass.BP] == 2 * norms
    assert kinds["relu", Pass.FF] == kinds["relu", Pass.BP] == relus
    assert kinds["add", Pass.FF] == 2  # the residual joins
    assert kinds["split", Pass.BP] == 2  # their gradients meet again
    assert kinds["averagepool", Pass.FF] == 1
    assert kinds["loss", Pass.FF] == kinds["loss", Pass.BP] == 1
    assert kinds["bias", Pass.FF] == kinds["bias", Pass.WU] == 1  # of fc


def test_each_layer_is_updated_once_with_all_its_parameters() -> None:
    module = models.TinyViT()
    images, labels = models.vit_inputs()
    workload = capture_training_step(module, images, labels)
    updates = {op.layer: op.elements for op in workload.vector_ops if op.pass_ is Pass.UP}
    assert sum(updates.values()) == sum(p.numel() for p in module.parameters())
    assert updates["head"] == models.DIM * models.CLASSES + models.CLASSES
    assert [op.kind for op in workload][-len(updates) :] == ["update"] * len(updates)


def test_a_frozen_layer_has_no_weight_gradient_and_no_update() -> None:
    module = models.TinyResNet()
    module.b2.requires_grad_(False)
    images, labels = models.resnet_inputs()
    workload = capture_training_step(module, images, labels)
    assert {op.pass_ for op in workload if op.layer == "b2"} == {Pass.FF, Pass.BP}


def test_a_layer_that_runs_twice_appears_twice() -> None:
    shared = nn.Linear(8, 8)
    module = nn.Sequential(shared, nn.ReLU(), shared)
    workload = capture_training_step(module, torch.randn(4, 8), lambda out: out.sum())
    assert [op.name for op in workload.matmuls] == [
        *("0.FF", "0.FF#2", "0.BP", "0.WU", "0.WU#2"),
    ]


def test_square_layers_do_not_confuse_the_gradients() -> None:
    """All sizes equal: only identity tells X, W and dY apart."""
    module = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    inputs = torch.randn(8, 8)
    workload = capture_training_step(module, inputs, lambda out: out.square().sum())
    hidden = torch.relu(module[0](inputs)).detach()
    zeros = (hidden == 0).double().mean().item()
    (gradient,) = (op for op in workload.matmuls if op.name == "2.WU")
    assert (gradient.left.tensor, gradient.right.tensor) == ("X", "dY")
    assert gradient.left.statistics is not None
    assert gradient.left.statistics.zero_fraction == zeros > 0
    assert [op.pass_ for op in workload.matmuls] == ["FF", "FF", "BP", "WU", "WU"]


def test_masked_weights_are_still_weights() -> None:
    """A pruned layer multiplies a mask with its parameter in every forward pass."""
    module = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    prune.l1_unstructured(module[0], "weight", amount=0.75)
    workload = capture_training_step(module, torch.randn(8, 16), torch.zeros(8, dtype=torch.int64))
    (forward,) = (op for op in workload.matmuls if op.layer == "0" and op.pass_ is Pass.FF)
    assert forward.right.statistics is not None
    assert forward.right.statistics.zero_fraction == 0.75
    assert {op.pass_ for op in workload.matmuls if op.layer == "0"} == {Pass.FF, Pass.WU}


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_a_recurrent_layer_is_one_product_a_time_step(kind: type[nn.Module], gates: int) -> None:
    batch, steps, features, hidden = 4, 6, 8, 5
    workload = capture_training_step(
        kind(features, hidden), torch.randn(steps, batch, features), lambda out: out[0].sum()
    )
    rows = Counter((p, layer, m, k, n) for p, layer, _, m, k, n in rows_of(workload))
    width = gates * hidden
    assert rows == {
        ("FF", "weight_ih_l0", steps * batch, features, width): 1,
        ("WU", "weight_ih_l0", features, steps * batch, width): 1,
        ("FF", "weight_hh_l0", batch, hidden, width): steps,
        ("BP", "weight_hh_l0", batch, width, hidden): steps - 1,  # nobody trains the first state
        ("WU", "weight_hh_l0", hidden, batch, width): steps,
    }


def test_weights_kept_as_buffers_are_weights_that_nobody_trains() -> None:
    class Buffered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(8, 8)
            self.register_buffer("fixed", torch.randn(8, 5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.first(x) @ self.fixed

    workload = capture_training_step(Buffered(), torch.randn(4, 8), lambda out: out.sum())
    fixed = [row for row in rows_of(workload) if row[1] == "fixed"]
    assert fixed == [("FF", "fixed", 1, 4, 8, 5), ("BP", "fixed", 1, 4, 5, 8)]


def test_batched_experts_have_one_product_each() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(8, 8)
            self.experts = nn.Parameter(torch.randn(3, 8, 16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.einsum("ebd,edf->ebf", self.first(x), self.experts)

    workload = capture_training_step(Experts(), torch.randn(3, 5, 8), lambda out: out.sum())
    assert Counter(row for row in rows_of(workload) if row[1] == "experts") == Counter(
        [
            ("FF", "experts", 3, 5, 8, 16),
            ("BP", "experts", 3, 5, 16, 8),
            ("WU", "experts", 3, 8, 5, 16),
        ]
    )


def test_the_products_of_a_function_with_its_own_gradient_are_told_apart() -> None:
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x, w)
            return x @ w.t()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x, w = ctx.saved_tensors
            return gradient @ w, gradient.t() @ x

    class Custom(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Product.apply(self.first(x), self.second.weight)

    workload = capture_training_step(Custom(), torch.randn(8, 8), lambda out: out.sum())
    second = [op for op in workload.matmuls if op.layer == "second"]
    assert [op.pass_ for op in second] == [Pass.FF, Pass.BP, Pass.WU]


def test_the_multi_head_attention_of_pytorch_is_told_apart() -> None:
    layer = nn.MultiheadAttention(16, 2, batch_first=True)
    x = torch.randn(3, 5, 16, requires_grad=True)
    step = TrainingStep(module=layer, inputs=(x, x, x), loss=lambda out: out[0].sum())
    workload = capture_step(step).workload
    rows = Counter(row for row in rows_of(workload) if row[1] != "model")
    assert rows == Counter(
        models.linear("in_proj", 15, 16, 48) + models.linear("out_proj", 15, 16, 16)
    )


# Statistics, values, and what is left as it was


def test_statistics_equal_those_computed_from_the_tensors() -> None:
    images, labels = models.resnet_inputs()
    step = TrainingStep(module=models.TinyResNet(), inputs=images, loss=labels)
    captured = capture_step(step, keep_tensors=("b2.*",))
    assert sorted(captured.tensors) == ["b2.W", "b2.X", "b2.Y", "b2.dW", "b2.dX", "b2.dY"]
    ops = {op.pass_: op for op in captured.workload.matmuls if op.layer == "b2"}
    x, w, dy = (captured.tensors[f"b2.{name}"].astype(np.float64) for name in ("X", "W", "dY"))
    for operand, groups in (
        (ops[Pass.FF].left, x.transpose(0, 2, 3, 1)),  # channels of a position
        (ops[Pass.FF].right, w.transpose(0, 2, 3, 1)),  # input channels
        (ops[Pass.BP].left, dy.transpose(0, 2, 3, 1)),
        (ops[Pass.BP].right, w.transpose(1, 2, 3, 0)),  # output channels
        (ops[Pass.WU].right, dy.transpose(1, 0, 2, 3).reshape(16, -1)),  # positions of a channel
    ):
        assert operand.statistics is not None
        assert operand.statistics.zero_fraction == (groups == 0).mean()
        for pattern, share in operand.statistics.nm_energy:
            n, m = map(int, pattern.split(":"))
            assert share == pytest.approx(naive_energy(groups, n, m), rel=1e-6)


def naive_energy(values: np.ndarray, n: int, m: int) -> float:
    """Sort each group along the last axis."""
    kept = 0.0
    for vector in values.reshape(-1, values.shape[-1]):
        for start in range(0, len(vector), m):
            kept += np.sort(vector[start : start + m] ** 2)[-n:].sum()
    return kept / (values**2).sum()


def test_a_relu_leaves_zeros_and_batch_norm_fills_them_in() -> None:
    ops = {(op.layer, op.pass_): op for op in capture_resnet().matmuls}
    after_relu, gradient = ops["a2", Pass.FF].left, ops["a2", Pass.BP].left
    assert after_relu.statistics is not None
    assert gradient.statistics is not None
    assert 0.3 < after_relu.statistics.zero_fraction < 0.7
    assert gradient.statistics.zero_fraction < 0.05


def test_no_statistics_without_values_or_when_not_wanted() -> None:
    for workload in (capture_resnet("meta"), capture_resnet(statistics=False)):
        sides = [side for op in workload.matmuls for side in (op.left, op.right, op.out)]
        assert {side.statistics for side in sides} == {None}


def test_a_capture_leaves_the_module_as_it_was() -> None:
    module = models.TinyResNet()
    images, labels = models.resnet_inputs()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.fc.weight.grad = torch.ones_like(module.fc.weight)
    capture_training_step(module, images, labels)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(module.fc.weight.grad, torch.ones_like(module.fc.weight))
    assert module.stem.weight.grad is None
    assert not module.stem._forward_hooks
    assert not module.stem._forward_pre_hooks


def test_a_capture_survives_the_trace_file(tmp_path: Path) -> None:
    workload = capture_resnet()
    write_trace(workload, tmp_path / "resnet.trace")
    assert read_trace(tmp_path / "resnet.trace") == workload


# Notes


def test_an_operation_that_is_not_known_is_named_in_the_notes() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2), nn.Conv2d(4, 2, 3))
    workload = capture_training_step(module, torch.randn(1, 3, 6, 6), lambda out: out.sum())
    missing = [note for note in workload.notes if note.startswith("NOT in this workload")]
    assert any("upsample_nearest2d ran once in layer '1'" in note for note in missing)


def test_moves_are_named_in_the_notes() -> None:
    assert any("not counted: cat" in note or "clone" in note for note in capture_vit(False).notes)


def test_evaluation_mode_is_named_in_the_notes() -> None:
    images, labels = models.resnet_inputs()
    workload = capture_training_step(models.TinyResNet().eval(), images, labels)
    assert any("evaluation mode" in note for note in workload.notes)
    assert not [op for op in workload.vector_ops if op.kind == "batchnorm"]


def test_names_are_unique() -> None:
    names = [op.name for op in capture_vit(fused=True)]
    assert len(set(names)) == len(names)
    assert all(isinstance(op, MatMul) for op in capture_vit(fused=True).matmuls)
