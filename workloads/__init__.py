"""What must be computed: shapes, networks, sparsity methods, captured traces. Knows no hardware."""

from workloads.errors import InputError
from workloads.operations import (
    Conv2d,
    MatMul,
    Operand,
    Pass,
    Selection,
    VectorOp,
    Workload,
    gemm,
)
from workloads.patterns import (
    DENSE,
    NM,
    Block,
    Dense,
    Group,
    Pattern,
    TransposableNM,
    Unstructured,
    parse_pattern,
)
from workloads.statistics import Statistics

__all__ = [
    "DENSE",
    "NM",
    "Block",
    "Conv2d",
    "Dense",
    "Group",
    "InputError",
    "MatMul",
    "Operand",
    "Pass",
    "Pattern",
    "Selection",
    "Statistics",
    "TransposableNM",
    "Unstructured",
    "VectorOp",
    "Workload",
    "gemm",
    "parse_pattern",
]
