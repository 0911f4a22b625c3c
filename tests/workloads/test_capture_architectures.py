"""Captures of architectures out of the ordinary: recurrent, tied, routed, fused, compiled."""

from collections import Counter
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tests.workloads import capture_models as models  # noqa: E402
from tests.workloads.capture_models import rows_of  # noqa: E402
from workloads import Pass  # noqa: E402
from workloads.capture import TrainingStep, capture_step, capture_training_step  # noqa: E402
from workloads.capture.values import measure  # noqa: E402
from workloads.statistics import Statistics  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


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
