"""What a capture says of single layers and operations: roles, statistics, vector work, notes."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

from tests.workloads import capture_models as models  # noqa: E402
from tests.workloads.capture_models import capture_resnet, capture_vit  # noqa: E402
from workloads import Pass  # noqa: E402
from workloads.capture import TrainingStep, capture_step, capture_training_step  # noqa: E402
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
