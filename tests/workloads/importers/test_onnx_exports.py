"""Graphs as PyTorch's exporter writes them: the same work as a capture of the module itself."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from torch import nn  # noqa: E402

from workloads import Pass, Workload  # noqa: E402
from workloads.capture import capture_training_step  # noqa: E402
from workloads.importers import read_model  # noqa: E402

CLASSES = 5


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def exported(module: nn.Module, inputs: torch.Tensor, path: Path) -> Workload:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own: it is the older of two
        torch.onnx.export(module, (inputs,), str(path), opset_version=17, dynamo=False)
    return read_model(path)


def captured(module: nn.Module, inputs: torch.Tensor) -> Workload:
    labels = torch.zeros(module(inputs).shape[:-1].numel(), dtype=torch.int64)

    def loss(out: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(out.flatten(0, -2), labels)

    return capture_training_step(module, inputs, loss, statistics=False)


def products(workload: Workload) -> Counter[tuple[object, ...]]:
    """Count products by shape; those of attention may be run as the transposed product."""
    return Counter(
        (op.pass_, op.kind, op.batch, op.k, *(sorted((op.m, op.n)) if transposed else (op.m, op.n)))
        for op in workload.matmuls
        for transposed in [op.kind == "attention"]
        if not op.name.endswith(".recompute")
    )


class Encoder(nn.Module):
    """Encoder layers of PyTorch, and a classifier of every token."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 48, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x))


@pytest.mark.parametrize("layers", [1, 3])
def test_sizes_that_the_graph_computes_itself_are_fixed_sizes(tmp_path: Path, layers: int) -> None:
    module, inputs = Encoder(layers), torch.randn(2, 6, 32)
    ours, theirs = exported(module, inputs, tmp_path / "encoder.onnx"), captured(module, inputs)
    assert products(ours) == products(theirs)
    assert ours.macs == sum(op.macs for op in theirs.matmuls if "recompute" not in op.name)


class Recurrent(nn.Module):
    """A recurrent layer of PyTorch, and a classifier of every step."""

    def __init__(self, kind: type[nn.RNNBase], **options: bool) -> None:
        super().__init__()
        self.layer = kind(8, 16, num_layers=2, batch_first=True, **options)
        self.head = nn.Linear(32 if self.layer.bidirectional else 16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x)[0])


def work(workload: Workload, size: int) -> Counter[tuple[object, ...]]:
    """Count the work between the products, of elements of `size` bytes."""
    return Counter(
        (op.pass_, op.kind, op.elements, op.lane_operations, op.fused, *moved)
        for op in workload.vector_ops
        for moved in [(op.read_bytes // size, op.write_bytes // size)]
        if op.pass_ is not Pass.UP
    )


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{"bidirectional": True}, {"bias": False}], ids=str)
def test_a_recurrent_layer_is_read_as_it_is_captured(
    tmp_path: Path, kind: type[nn.RNNBase], options: dict[str, bool]
) -> None:
    module, inputs = Recurrent(kind, **options), torch.randn(2, 32, 8)
    ours, theirs = exported(module, inputs, tmp_path / "layer.onnx"), captured(module, inputs)
    assert products(ours) == products(theirs)
    assert ours.macs == theirs.macs
    assert work(ours, 2) == work(theirs, 4)  # fp16 as all that is read, fp32 as it ran
    assert "operands count as fp16 (2 bytes)" in ours.notes[-1]
    assert "Operands count as they ran: fp32 (4 bytes)" in theirs.notes[0]
    assert len({op.name for op in ours}) == len(ours)
    updated = [
        sum(op.elements for op in w.vector_ops if op.kind == "update") for w in (ours, theirs)
    ]
    assert updated[0] == updated[1] == sum(p.numel() for p in module.parameters())
