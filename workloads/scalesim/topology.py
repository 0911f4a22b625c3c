"""SCALE-Sim topology files: one layer a line, as a convolution or as a matrix product.

::

    Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter,
        Strides,      (in one line with the seven before)
    Layer, M, N, K,

Both forms may have one more column, `Sparsity`, with N:M of the weights along K. Every line ends
with a comma: SCALE-Sim drops what follows the last one (reading here does not insist). The first
line is a heading. One stride holds for both axes; there is no padding, batch, dilation or group,
but a layer with `DP` in its name is a depthwise convolution: `Num Filter` filters for each channel.

Source: topology_utils.py of scalesim-project/SCALE-Sim, version 3.

A workload read from a file is a list of forward products; all have the position "inner", since a
file does not say whether its layers are a whole network.

**Sizes that do not divide.** SCALE-Sim counts ceil((input - filter) / stride) + 1 positions along
an axis, everybody else takes the floor. Reading takes the floor and says so in a note where the two
differ. Writing gives the part of the padded input that is read, (positions - 1) stride + filter, so
that SCALE-Sim and this project compute the same products.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from workloads.errors import InputError
from workloads.files import write_whole
from workloads.lowering import lower_conv, lower_linear
from workloads.names import numbered_names
from workloads.operations import Conv2d, MatMul, Pass, Workload
from workloads.patterns import DENSE, NM, Pattern, parse_pattern
from workloads.scalesim._text import Place, numbered_lines, whole_number

Kind = Literal["conv", "gemm"]

COLUMNS: dict[str, tuple[str, ...]] = {
    "conv": (
        "Layer name",
        "IFMAP Height",
        "IFMAP Width",
        "Filter Height",
        "Filter Width",
        "Channels",
        "Num Filter",
        "Strides",
    ),
    "gemm": ("Layer", "M", "N", "K"),
}

DEPTHWISE = "DP"


def read_topology(path: str | Path, *, kind: Kind | None = None, dtype: str = "fp16") -> Workload:
    """Read a topology file as a workload of forward products, batch 1, without padding.

    `kind` is told from the number of columns where it is None. Layers of the same name get a
    number. Raises `InputError` naming file and line for anything that is not a topology.
    """
    path = Path(path)
    _, *lines = _with_heading(path)
    rows = [(place, _fields(line)) for place, line in lines]
    if not rows:
        raise InputError(f"topology {path} must have a layer after its heading")
    kind = kind or _kind(*rows[0])
    names = numbered_names(fields[0] for _, fields in rows)
    operations: list[MatMul] = []
    notes: list[str] = []
    for (place, fields), name in zip(rows, names, strict=True):
        numbers, pattern = _row(kind, place, fields)
        if kind == "gemm":
            m, n, k = numbers
            (product,) = lower_linear(name, m, k, n, Pass.FF, dtype=dtype)
        else:
            conv = _conv(place, fields[0], numbers)
            (product,) = lower_conv(name, conv, Pass.FF, dtype=dtype)
            notes += _rounding_note(place, name, conv)
        operations.append(replace(product, right=replace(product.right, pattern=pattern)))
    return Workload(
        name=path.stem,
        operations=tuple(operations),
        source=f"SCALE-Sim {kind} topology {path.name}",
        notes=tuple(notes),
    )


def write_topology(path: str | Path, workload: Workload, *, kind: Kind | None = None) -> None:
    """Write the products of `workload` as a topology file, whole or not at all.

    The conv form holds the forward products (linear layers as 1x1 filters on M x 1 positions), the
    gemm form every product. None means conv if the workload has convolutions. Raises `InputError`
    for a product that the form cannot express: a batch, dilation, groups, unequal strides, or a
    pattern other than N:M on the right operand.
    """
    products = workload.matmuls
    if kind is None:
        kind = "conv" if any(op.conv for op in products) else "gemm"
    if kind == "conv":
        products = tuple(op for op in products if op.pass_ is Pass.FF)
    if not products:
        raise InputError(f"workload {workload.name!r} must have a product to be written")
    patterns = [_weight_pattern(op) for op in products]
    write_row = _conv_row if kind == "conv" else _gemm_row
    rows = [write_row(op) for op in products]
    heading = list(COLUMNS[kind])
    if any(pattern != "1:1" for pattern in patterns):
        heading.append("Sparsity")
        rows = [[*row, pattern] for row, pattern in zip(rows, patterns, strict=True)]
    text = "".join(", ".join(row) + ",\n" for row in (heading, *rows))
    write_whole({Path(path): text.encode()})


def _with_heading(path: Path) -> list[tuple[Place, str]]:
    lines = numbered_lines(path, "topology")
    if not lines:
        raise InputError(f"topology {path} must have a heading and layers; it is empty")
    place, heading = lines[0]
    fields = _fields(heading)
    if len(fields) > 1 and fields[1].isdigit():
        raise InputError(f"{place}: a topology must begin with a heading, not with a layer")
    return lines


def _fields(line: str) -> list[str]:
    fields = [field.strip() for field in line.split(",")]
    return fields[:-1] if fields[-1] == "" else fields


def _kind(place: Place, fields: list[str]) -> Kind:
    if len(fields) in (8, 9):
        return "conv"
    if len(fields) in (4, 5):
        return "gemm"
    raise InputError(
        f"{place}: a layer must have 8 columns ({', '.join(COLUMNS['conv'])}) or 4 "
        f"({', '.join(COLUMNS['gemm'])}), and one more for sparsity, not {len(fields)}"
    )


def _row(kind: Kind, place: Place, fields: list[str]) -> tuple[list[int], Pattern]:
    """Return the numbers of a row and its pattern."""
    columns = COLUMNS[kind]
    if len(fields) not in (len(columns), len(columns) + 1):
        raise InputError(
            f"{place}: a {kind} layer must have the columns {', '.join(columns)} and possibly "
            f"Sparsity, not {len(fields)} columns"
        )
    if not fields[0]:
        raise InputError(f"{place}: {columns[0]} must not be empty")
    numbers = [
        whole_number(field, column, place, least=1)
        for field, column in zip(fields[1:], columns[1:], strict=False)
    ]
    return numbers, _pattern(place, fields[len(columns) :])


def _pattern(place: Place, fields: list[str]) -> Pattern:
    """Read the sparsity column; N:N, such as 1:1, and nothing at all mean dense."""
    if not fields or not fields[0]:
        return DENSE
    try:
        pattern = parse_pattern(fields[0].replace(" ", ""))
    except InputError:
        pattern = DENSE
    if type(pattern) is not NM:
        raise InputError(
            f"{place}: Sparsity must be N:M with 1 <= N <= M, as in 2:4, not {fields[0]!r}"
        )
    return DENSE if pattern.n == pattern.m else pattern


def _conv(place: Place, name: str, numbers: list[int]) -> Conv2d:
    height, width, kernel_h, kernel_w, channels, filters, stride = numbers
    groups = channels if DEPTHWISE in name else 1
    try:
        return Conv2d(
            batch=1,
            in_channels=channels,
            out_channels=filters * groups,
            in_hw=(height, width),
            kernel=(kernel_h, kernel_w),
            stride=(stride, stride),
            groups=groups,
        )
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def _rounding_note(place: Place, name: str, conv: Conv2d) -> Iterator[str]:
    left_over = [
        (size - kernel) % stride
        for size, kernel, stride in zip(conv.in_hw, conv.kernel, conv.stride, strict=True)
    ]
    if any(left_over):
        rows, cols = (out + (rest > 0) for out, rest in zip(conv.out_hw, left_over, strict=True))
        yield (
            f"{place}: {name} has {conv.out_hw[0]} x {conv.out_hw[1]} output positions; SCALE-Sim "
            f"counts {rows} x {cols}, since it rounds up"
        )


def _weight_pattern(op: MatMul) -> str:
    pattern = op.right.pattern
    if op.left.pattern != DENSE or not (pattern == DENSE or isinstance(pattern, NM)):
        raise InputError(
            f"{op.name} must be dense or N:M in its right operand to be written as a topology, not "
            f"{op.left.pattern} times {pattern}"
        )
    return f"{pattern.n}:{pattern.m}" if isinstance(pattern, NM) else "1:1"


def _gemm_row(op: MatMul) -> list[str]:
    if op.batch > 1:
        raise InputError(
            f"{op.name} must be a single product to be written as a topology, not a batch of "
            f"{op.batch}"
        )
    return [_file_name(op.name), str(op.m), str(op.n), str(op.k)]


def _conv_row(op: MatMul) -> list[str]:
    conv = op.conv
    if conv is None:
        _, m, n, k = _gemm_row(op)
        return [_conv_name(op.layer, op.k, depthwise=False), m, "1", "1", "1", k, n, "1"]
    depthwise = conv.groups == conv.in_channels > 1
    for wrong, what in (
        (conv.batch > 1, f"batch {conv.batch}; write it for batch 1 or as gemm"),
        (conv.stride[0] != conv.stride[1], f"strides {conv.stride}; they must be equal"),
        (conv.dilation != (1, 1), f"dilation {conv.dilation}; it must be 1"),
        (conv.groups > 1 and not depthwise, f"{conv.groups} groups; one, or one per channel, will"),
    ):
        if wrong:
            raise InputError(f"{op.name} cannot be written as a conv topology: it has {what}")
    height, width = (
        (out - 1) * stride + kernel
        for out, stride, kernel in zip(conv.out_hw, conv.stride, conv.kernel, strict=True)
    )
    numbers = (
        height,
        width,
        *conv.kernel,
        conv.in_channels,
        conv.out_channels // conv.groups,
        conv.stride[0],
    )
    return [_conv_name(op.layer, conv.in_channels, depthwise=depthwise), *map(str, numbers)]


def _conv_name(layer: str, channels: int, *, depthwise: bool) -> str:
    """Mark a depthwise convolution; refuse the mark on any other of several channels."""
    name = _file_name(layer)
    if depthwise:
        return name if DEPTHWISE in name else f"{DEPTHWISE}_{name}"
    if DEPTHWISE in name and channels > 1:
        raise InputError(
            f"layer {name!r} must be renamed to be written as a conv topology: SCALE-Sim takes "
            f"{DEPTHWISE} in a name for a depthwise convolution"
        )
    return name


def _file_name(name: str) -> str:
    if "," in name or name != name.strip() or not name or not name.isprintable():
        raise InputError(
            f"name {name!r} must be printable, without commas or spaces around it, to be written "
            "as a topology"
        )
    return name
