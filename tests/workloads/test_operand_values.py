"""Lines of operands are those of the product: left lines times right lines give its result."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from workloads import InputError, MatMul, Pass, Workload, gemm
from workloads.lowering import lower_conv
from workloads.operand_values import (
    TensorValues,
    ValueHistograms,
    line_histograms,
    lines_of,
    with_tensors,
)
from workloads.operations import Conv2d
from workloads.trace import read_trace, write_trace
from workloads.trace_tensors import tensors_path

torch = pytest.importorskip("torch")


def captured() -> tuple[Workload, dict[str, np.ndarray]]:
    from workloads.capture import TrainingStep, capture_step

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(4, 8, 3, stride=2, padding=1),
        torch.nn.Conv2d(8, 8, 3, padding=1, groups=2),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 16, 10),
    ).double()
    step = TrainingStep(
        module=net, inputs=torch.randn(3, 4, 8, 8).double(), loss=torch.randint(0, 10, (3,))
    )
    capture = capture_step(step, keep_tensors=("*",))
    return capture.workload, capture.tensors


STEP, TENSORS = captured()


def result(op: MatMul) -> np.ndarray:
    """Return what PyTorch computed, as (batch, M, N)."""
    tensor = TENSORS[f"{op.layer}.{op.out.tensor}"]
    if op.kind != "conv":
        return tensor[None]
    assert op.conv is not None
    groups = op.conv.groups
    if op.pass_ is Pass.FF:  # (images, channels, rows, columns): a bias of each channel on top
        maps = tensor.reshape(op.conv.batch, groups, op.n, -1)
        return np.moveaxis(maps, 0, 2).reshape(groups, op.n, op.m).swapaxes(1, 2)
    weights = tensor.reshape(groups, op.n, *tensor.shape[1:])  # dW (out, in, rows, columns)
    return np.moveaxis(weights, 2, -1).reshape(groups, op.n, op.m).swapaxes(1, 2)


PRODUCTS = [op for op in STEP.matmuls if op.kind == "linear" or op.pass_ is not Pass.BP]


@pytest.mark.parametrize("op", PRODUCTS, ids=lambda op: op.name)
def test_the_lines_of_both_operands_give_what_pytorch_computed(op: MatMul) -> None:
    left, right = (
        lines_of(op, side, TENSORS[f"{op.layer}.{getattr(op, side).tensor}"])
        for side in ("left", "right")
    )
    assert left is not None
    assert right is not None
    product = left @ right.swapaxes(1, 2)
    difference = result(op) - product
    if op.pass_ is Pass.FF:  # the bias: one number for each column
        difference = difference - difference[:, :1]
    np.testing.assert_allclose(difference, 0, atol=1e-9)


@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 3), (2, 2), (3, 1)])
def test_the_phases_of_backward_data_share_the_weights_among_them(stride: int, kernel: int) -> None:
    """Each tap of each pair of channels is in one phase, along K the output channels."""
    conv = Conv2d(
        batch=1, in_channels=4, out_channels=6, in_hw=(9, 9), kernel=(kernel, kernel),
        stride=(stride, stride), padding=(kernel // 2, kernel // 2), groups=2,
    )  # fmt: skip
    weights = np.arange(6 * 2 * kernel * kernel).reshape(6, 2, kernel, kernel)
    seen: list[int] = []
    for op in lower_conv("c", conv, Pass.BP):
        lines = lines_of(op, "right", weights)
        assert lines is not None
        assert lines.shape == (2, op.n, op.k)
        seen += lines.ravel().tolist()
        first = lines[0, :, :3] // (2 * kernel * kernel)  # output channels of the first tap
        np.testing.assert_array_equal(first, [[0, 1, 2]] * op.n)
    assert len(seen) == len(set(seen))
    if kernel >= stride:
        assert sorted(seen) == weights.ravel().tolist()


def test_the_gradient_maps_of_a_convolution_have_no_lines() -> None:
    (op,) = [op for op in STEP.matmuls if op.kind == "conv" and op.pass_ is Pass.BP]
    assert lines_of(op, "left", TENSORS[f"{op.layer}.dY"]) is None


def test_a_tensor_of_another_size_has_no_lines() -> None:
    (op,) = gemm(3, 4, 5).matmuls
    assert lines_of(op, "left", np.zeros((4, 4))) is None


@pytest.mark.parametrize("role", ["X", "W", "dY"])
def test_a_tensor_of_a_convolution_of_another_size_has_no_lines(role: str) -> None:
    conv = Conv2d(batch=2, in_channels=4, out_channels=6, in_hw=(5, 5), kernel=(3, 3), groups=2)
    (op,) = lower_conv("c", conv, Pass.FF if role == "W" else Pass.WU)
    side = "left" if role == "X" else "right"
    assert lines_of(op, side, np.zeros((7, 3, 5, 1))) is None


def test_classes_of_lines_keep_every_value_and_sort_by_magnitude() -> None:
    rng = np.random.default_rng(0)
    lines = (rng.standard_normal((1, 10, 50)) * np.arange(1, 11)[:, None]).astype(np.int8)
    counts = line_histograms(lines, 8, classes=3).counts
    np.testing.assert_array_equal(counts.sum(axis=1), [200, 150, 150])
    each = np.bincount(lines.ravel() + np.int64(128), minlength=256)
    np.testing.assert_array_equal(counts.sum(axis=0), each)
    spread = counts @ np.abs(np.arange(-128, 128)) / counts.sum(axis=1)
    assert list(spread) == sorted(spread)
    assert len(line_histograms(lines[:, :2], 8, classes=8).counts) == 2


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.ones((2, 255), np.int64), r"must be \(classes, 256\), not of shape \(2, 255\)"),
        (np.zeros((1, 256), np.int64), "must be counts, at least one in every class"),
        (np.ones((1, 256)), "must be counts, at least one in every class"),
        (-np.ones((1, 256), np.int64), "must be counts, at least one in every class"),
    ],
)
def test_histograms_that_count_nothing_are_refused(counts: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ValueHistograms(counts=counts, width=8)


def test_a_histogram_that_is_none_is_named() -> None:
    counted = {"gemm.left.histogram": lambda: np.zeros((1, 256), np.int64)}
    with pytest.raises(InputError, match=r"tensor 'gemm\.left\.histogram': value histograms"):
        with_tensors(gemm(2, 3, 4), counted)


def test_tensors_beside_a_trace_become_values_of_its_operands(tmp_path: Path) -> None:
    path = tmp_path / "step.trace"
    counted = {"3.FF.left.histogram": np.eye(1, 256, dtype=np.uint32)}
    write_trace(STEP, path, TENSORS | counted)
    read = read_trace(path)
    assert read == STEP  # values are not part of what must be computed
    for op in read.matmuls:
        for side in ("left", "right"):
            operand = getattr(op, side)
            if (op.name, side) == ("3.FF", "left"):
                assert operand.values.counts.tolist() == counted["3.FF.left.histogram"].tolist()
                continue
            values = pickle.loads(pickle.dumps(operand.values))  # a sweep hands them to workers
            np.testing.assert_array_equal(values.read(), TENSORS[f"{op.layer}.{operand.tensor}"])
            wanted = None if operand.tensor != "W" else 0 if op.kind == "conv" else 1
            assert values.channel_axis == wanted


def test_a_trace_without_the_tensors_beside_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "step.trace"
    write_trace(STEP, path, TENSORS)
    tensors_path(path).unlink()
    read = read_trace(path)
    assert read.notes[-1].startswith("the tensors step.trace.safetensors are not beside the trace")
    assert all(op.left.values is None for op in read.matmuls)


def test_changed_tensors_are_refused_when_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "step.trace"
    write_trace(STEP, path, TENSORS)
    content = bytearray(tensors_path(path).read_bytes())
    content[-1] ^= 1
    tensors_path(path).write_bytes(content)
    values = read_trace(path).matmuls[0].left.values
    assert isinstance(values, TensorValues)
    with pytest.raises(InputError, match="must be the tensors written with"):
        values.read()


def test_names_of_operations_go_before_names_of_layers() -> None:
    work = gemm(2, 3, 4)
    tensors = {
        "gemm.FF.left": lambda: np.zeros((9, 9)),
        "gemm.left": lambda: np.ones((2, 3)),
        "gemm.X": lambda: np.zeros((2, 3)),
    }
    (op,) = with_tensors(work, tensors).matmuls
    assert isinstance(op.left.values, TensorValues)
    assert op.left.values.read().all()
    assert op.right.values is None
    assert replace(op, left=replace(op.left, values=None)) == op
