"""What a capture says of single layers and operations: roles, statistics, vector work, notes."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

from tests.workloads import capture_models as models  # noqa: E402
from tests.workloads.capture_models import capture_resnet, capture_vit, rows_of  # noqa: E402
from workloads import MatMul, Pass  # noqa: E402
from workloads.capture import TrainingStep, capture_step, capture_training_step  # noqa: E402
from workloads.capture.values import measure  # noqa: E402
from workloads.statistics import Statistics  # noqa: E402
from workloads.trace import read_trace, write_trace  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


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


def test_the_weight_of_a_recurrent_layer_is_measured_once_a_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps, hidden = 6, 40
    measured: Counter[tuple[int, ...]] = Counter()

    def counted(tensor: torch.Tensor, axis: int | None) -> Statistics | None:
        if axis == -2:
            measured[tuple(tensor.shape)] += 1
        return measure(tensor, axis)

    monkeypatch.setattr("workloads.capture.call.measure", counted)
    inputs = torch.randn(steps, 4, 8)
    workload = capture_training_step(nn.LSTM(8, hidden), inputs, lambda out: out[0].sum())
    assert measured[hidden, 4 * hidden] == measured[4 * hidden, hidden] == 1  # FF, BP
    of_weight = [op.right.statistics for op in workload.matmuls if op.right.tensor == "W"]
    assert None not in of_weight
    assert len(of_weight) == 1 + steps + (steps - 1)


@pytest.mark.parametrize("through_data", [False, True])
def test_a_weight_that_the_step_writes_to_is_measured_again(through_data: bool) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = self.fc(x).detach()
            with torch.no_grad():
                (self.fc.weight.data if through_data else self.fc.weight)[:4].zero_()
            return self.fc(first)

    workload = capture_training_step(Masked(), torch.randn(4, 8), lambda out: out.sum())
    forward = [op.right.statistics for op in workload.matmuls if op.pass_ is Pass.FF]
    assert [s.zero_fraction for s in forward if s] == [0, 0.5]


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


def test_types_wider_than_those_of_mixed_precision_are_named_in_the_notes() -> None:
    wide, mixed = (
        " ".join(capture_vit(fused=False, autocast=autocast).notes) for autocast in ("", "bf16")
    )
    assert "Operands count as they ran: fp32 (4 bytes); a TrainingStep with autocast" in wide
    assert "Operands count as they ran" not in mixed


def test_names_are_unique() -> None:
    names = [op.name for op in capture_vit(fused=True)]
    assert len(set(names)) == len(names)
    assert all(isinstance(op, MatMul) for op in capture_vit(fused=True).matmuls)


# Architectures out of the ordinary


def rows_by_layer(module: nn.Module, inputs: Any, *, loss: Any = None) -> Counter[models.Row]:
    workload = capture_training_step(module, inputs, loss or (lambda out: out.square().sum()))
    return Counter(rows_of(workload))


def test_a_tied_weight_belongs_to_the_layer_that_runs_and_is_updated_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.inner = nn.Embedding(20, 8), nn.Linear(8, 8)
            self.head = nn.Linear(8, 20, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.inner(self.embed(x)))

    workload = capture_training_step(Tied(), torch.arange(10), lambda out: out.square().sum())
    assert Counter(rows_of(workload)) == Counter(
        models.linear("inner", 10, 8, 8) + models.linear("head", 10, 8, 20)
    )
    assert {op.position for op in workload.matmuls if op.layer == "head"} == {"last"}
    updates = {op.layer: op.elements for op in workload.vector_ops if op.pass_ is Pass.UP}
    assert updates == {"embed": 160, "inner": 72}


def test_an_expert_that_no_token_chose_computes_nothing() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out, chosen = torch.zeros_like(x), torch.tensor([0, 2, 2, 0, 2])
            for number, expert in enumerate(self.experts):
                tokens = (chosen == number).nonzero().squeeze(-1)
                out = out.index_add(0, tokens, expert(x[tokens]))
            return out

    found = rows_by_layer(Experts(), torch.randn(5, 8))
    assert found == Counter(
        row
        for expert, tokens in (("experts.0", 2), ("experts.2", 3))
        for row in models.linear(expert, tokens, 8, 8)
        if row[0] != "BP"
    )


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_grouped_product_has_the_rows_that_each_expert_got(device: str) -> None:
    """Rows 3, 0, 5, 5 of four experts; on the meta device nobody chose, so 13 rows are dealt out.

    The kernel wants bf16 there.
    """

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(16, 16)
            self.experts = nn.Parameter(torch.randn(4, 32, 16))

        def forward(self, x: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
            return torch._grouped_mm(self.first(x), self.experts.transpose(-2, -1), offs=ends)

    module = Experts().to(device, torch.bfloat16)
    ends = torch.tensor([3, 3, 8, 13], dtype=torch.int32, device=device)
    x = torch.randn(13, 16, device=device, dtype=torch.bfloat16)
    step = capture_training_step(module, (x, ends), lambda out: out.float().square().sum())
    wanted = {3: 1, 5: 2} if device == "cpu" else {3: 3, 4: 1}
    assert {row for row in rows_of(step) if row[1] == "experts"} == {
        row
        for rows, experts in wanted.items()
        for row in (
            ("FF", "experts", experts, rows, 16, 32),
            ("BP", "experts", experts, rows, 32, 16),
            ("WU", "experts", experts, 16, rows, 32),
        )
    }


def test_rotary_positions_as_complex_numbers_are_work_between_products() -> None:
    class Rotary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.out = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
            pairs = torch.view_as_complex(self.query(x).reshape(5, 4, 2))
            return self.out(torch.view_as_real(pairs * turns).flatten(-2))

    turns = torch.exp(1j * torch.arange(20.0)).reshape(5, 4)
    workload = capture_training_step(Rotary(), (torch.randn(5, 8), turns), lambda y: y.sum())
    assert {op.layer for op in workload.matmuls} == {"query", "out"}
    assert any(op.kind == "mul" for op in workload.vector_ops)
    assert not [note for note in workload.notes if note.startswith("NOT in this workload")]


@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_over_volumes_is_the_product_of_its_unfolded_input(transposed: bool) -> None:
    batch, side, groups = 2, 5, 2
    kind = nn.ConvTranspose3d if transposed else nn.Conv3d
    module = nn.Sequential(nn.Conv3d(3, 4, 1), kind(4, 6, 3, stride=2, groups=groups))
    small = batch * (side**3 if transposed else ((side - 3) // 2 + 1) ** 3)
    ins, outs = (2, 3 * 27) if transposed else (2 * 27, 3)
    found = rows_by_layer(module, torch.randn(batch, 3, side, side, side))
    assert {row for row in found if row[1] == "1"} == {
        ("FF", "1", groups, small, ins, outs),
        ("BP", "1", groups, small, outs, ins),
        ("WU", "1", groups, ins, small, outs),
    }


def test_grouped_queries_share_their_keys_and_values() -> None:
    """Two query heads to a key head: the products have twice the rows and half the copies."""

    class Grouped(nn.Module):
        def forward(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(q, k, k, enable_gqa=True)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.mix = nn.Linear(16, 16), nn.Linear(16, 8), Grouped()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            heads = [t.view(3, 5, -1, 4).transpose(1, 2) for t in (self.q(x), self.k(x))]
            return self.mix(*heads)

    step = capture_training_step(Model(), torch.randn(3, 5, 16), lambda out: out.square().sum())
    rows = [row for row in rows_of(step) if row[1] == "mix" and row[0] == "FF"]
    assert rows == [("FF", "mix", 3 * 2, 2 * 5, 4, 5), ("FF", "mix", 3 * 2, 2 * 5, 5, 4)]


def attention_work(fused: bool) -> Counter[tuple[object, ...]]:
    """Count what one attention of unscaled scores does, all but the recomputed scores."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(16, 48)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.qkv(x).view(3, 5, 3, 4, 4).permute(2, 0, 3, 1, 4)
            if fused:
                return nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)
            return (q @ k.mT).softmax(-1) @ v

    step = capture_training_step(Attention(), torch.randn(3, 5, 16), lambda out: out.sum())
    rows: list[tuple[object, ...]] = [
        (p, batch, k, *sorted((m, n)))  # a gradient may be run as the transposed product
        for p, _, batch, m, k, n in rows_of(step)
    ]
    rows += [
        (op.pass_, op.kind, op.elements, op.lane_operations, op.read_bytes, op.write_bytes)
        for op in step.vector_ops
        if op.pass_ is not Pass.UP and op.layer != "loss"
    ]
    return Counter(rows)


def test_fused_attention_does_the_work_of_the_products_and_the_softmax_it_stands_for() -> None:
    fused, spelled = attention_work(fused=True), attention_work(fused=False)
    scores = 3 * 4 * 5 * 5
    assert fused["FF", "softmax", scores, 5, 4 * scores, 4 * scores] == 1
    assert fused["BP", "softmax", scores, 3, 8 * scores, 4 * scores] == 1
    assert fused == spelled


@pytest.mark.parametrize("layer", ["encoder", "attention"])
def test_attention_layers_of_pytorch_have_their_softmax(layer: str) -> None:
    class Attention(nn.MultiheadAttention):
        def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return super().forward(x, x, x, need_weights=False)[0]

    batch, tokens, heads = 2, 6, 4
    module = (
        nn.TransformerEncoderLayer(16, heads, 24, batch_first=True)
        if layer == "encoder"
        else Attention(16, heads, batch_first=True)
    )
    step = capture_training_step(module, torch.randn(batch, tokens, 16), lambda out: out.sum())
    found = [(op.pass_, op.elements) for op in step.vector_ops if op.kind == "softmax"]
    scores = batch * heads * tokens * tokens
    assert found == [(Pass.FF, scores), (Pass.BP, scores)]


def test_a_compiled_part_keeps_the_names_of_the_plain_one() -> None:
    plain = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    part = torch.compile(plain, backend="aot_eager")
    x = torch.randn(3, 8)
    assert rows_by_layer(nn.Sequential(part, nn.Linear(8, 4)), x) == rows_by_layer(
        nn.Sequential(plain, nn.Linear(8, 4)), x
    )


def test_pieces_of_a_batch_are_products_of_their_own() -> None:
    """Gradient accumulation within a step: as many forward products and weight gradients."""

    class Pieces(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([super(Pieces, self).forward(part).sum() for part in x.chunk(3)])

    found = rows_by_layer(Pieces(nn.Linear(8, 8), nn.Linear(8, 4)), torch.randn(6, 8))
    assert found == Counter(
        {("FF", "0", 1, 2, 8, 8): 3, ("WU", "0", 1, 8, 2, 8): 3}
        | dict.fromkeys(models.linear("1", 2, 8, 4), 3)
    )


def test_a_bag_of_rows_is_gathered_and_scattered() -> None:
    module = nn.Sequential(nn.EmbeddingBag(20, 8, mode="sum"), nn.Linear(8, 4))
    step = capture_training_step(module, torch.arange(15).view(3, 5), lambda out: out.sum())
    work = {op.pass_: op.elements for op in step.vector_ops if op.kind == "embedding"}
    assert work == {Pass.FF: 15 * 8, Pass.WU: 15 * 8}
