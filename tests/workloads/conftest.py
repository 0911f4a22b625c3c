"""A step with an operation of every kind, and the trace file of it."""

from pathlib import Path

import pytest

from workloads import NM, Conv2d, Pass, Selection, VectorOp, Workload
from workloads.lowering import lower_conv, lower_linear
from workloads.trace import write_trace


@pytest.fixture(scope="module")
def step() -> Workload:
    conv = Conv2d(
        batch=2, in_channels=8, out_channels=16, in_hw=(9, 9), kernel=(3, 3), stride=(2, 2)
    )
    operations = (  # rows of the table: 0 conv, 1 and 2 linear, 3 vector, 4 selection
        *lower_conv("conv", conv, Pass.FF, position="first"),
        *lower_linear("fc", 2, 16, 4, Pass.FF, position="last"),
        *lower_linear("fc", 2, 16, 4, Pass.WU, position="last"),
        VectorOp(name="relu", layer="conv", pass_=Pass.FF, kind="relu", elements=5, fused=True),
        Selection(name="s", layer="fc", pass_=Pass.UP, tensor="W", elements=64, pattern=NM(2, 8)),
    )
    return Workload(name="step", operations=operations, notes=("one", "two"), source="here")


@pytest.fixture
def path(step: Workload, tmp_path: Path) -> Path:
    write_trace(step, tmp_path / "step.trace", command="made by hand")
    return tmp_path / "step.trace"
