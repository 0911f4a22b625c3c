"""The trace file: one workload as a Parquet table that pandas can open.

`pd.read_parquet("step.trace")` gives one row per operation, in the order of execution.

Version 1
---------
**Columns.** All are flat. A column that does not apply to a row's `op` is empty there.

===================  =======  =================  ==================================================
column               type     rows (`op`)        meaning (unit)
===================  =======  =================  ==================================================
op                   string   all                matmul, vector or selection
name                 string   all                name of the operation, unique in the trace
layer                string   all                name of its layer
pass                 string   all                FF, BP, WU or UP
kind                 string   matmul             conv, linear or attention
\\                    \\        vector             relu, softmax, norm, update, ... (free text)
m, k, n              int64    matmul             out[m,n] = sum over k of left[m,k] right[k,n]
batch                int64    matmul             independent products of this shape
k_run                int64    matmul             run of K in which groups of N:M form; divides k
position             string   matmul             first, inner or last layer of the network
conv_batch           int64    matmul of a conv   images
conv_in_channels     int64    matmul of a conv   input channels of all groups; conv_out_channels too
conv_in_h            int64    matmul of a conv   input rows; conv_in_w columns
conv_kernel_h        int64    matmul of a conv   kernel rows; likewise _stride_, _padding_,
\\                    \\        \\                  _dilation_, each with _h and _w (positions)
conv_groups          int64    matmul of a conv   groups
left_tensor          string   matmul             role of the operand: X, W, Y, dX, dY or dW
left_elements        int64    matmul             its stored elements
left_dtype           string   matmul             fp16, bf16, fp32, ...
left_pattern         string   matmul             dense, 2:8, 2:4t, block:16x16:0.5, ...
left_zero_fraction   double   matmul, optional   zeros over elements (0 to 1)
left_energy_N_M      double   matmul, optional   share of the sum of squares that N:M magnitude
\\                    \\        \\                  selection along K keeps (0 to 1); one column per
\\                    \\        \\                  pattern measured
right_..., out_...   ...      matmul             the same for the other operand and the result
elements             int64    vector, selection  elements worked on
lane_operations      int64    vector             times that one element occupies a vector lane
read_bytes           int64    vector             bytes read
write_bytes          int64    vector             bytes written
fused                bool     vector             rides on the product before it: no lane time
tensor               string   selection          role of the tensor selected from
pattern              string   selection          what is selected
dtype                string   selection          data type of the tensor
pregenerable         bool     selection          known before the step starts
===================  =======  =================  ==================================================

**Metadata** of the Parquet schema, UTF-8 text: `sparsight.schema_version`, `sparsight.name`,
`sparsight.source`, `sparsight.method`, `sparsight.notes` (a JSON list), `sparsight.command` (what
made the trace) and `sparsight.tensors_sha256` (empty without tensors).

**Tensors.** Optional values lie beside the trace as `<trace>.safetensors`. Those that
`workloads.operand_values` knows by name become values of operands; others are the writer's.

Nothing here opens a pickle. Pages carry checksums, which reading verifies.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError, first_line
from workloads.files import is_pickle, write_whole
from workloads.operations import Operation, Workload
from workloads.trace_rows import COLUMNS, ENERGY_COLUMN, energy_columns, operation_of, row_of
from workloads.trace_tensors import encode, load_tensors, tensors_path, with_values

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from workloads.trace_tensors import Tensors

SCHEMA_VERSION = 1
SHIPPED = Path(__file__).parent / "traces"

_METADATA = "sparsight."
_MAGIC = b"PAR1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceInfo:
    """What a trace file says about itself, without its operations.

    `command` made the trace; `tensors_sha256` is empty if no tensors lie beside it.
    """

    name: str
    source: str = ""
    method: str = "dense"
    notes: tuple[str, ...] = ()
    command: str = ""
    tensors_sha256: str = ""


def write_trace(
    workload: Workload, path: Path | str, tensors: Tensors | None = None, *, command: str = ""
) -> None:
    """Write a workload to `path`, and `tensors` (if any) beside it, whole or not at all.

    `command` says how to make the trace again. Raises `InputError` if the workload holds something
    that the format cannot, or if the system refuses to write.
    """
    path = Path(path)
    _check_names(workload.operations, f"workload {workload.name!r}")
    contents: dict[Path, bytes] = {}
    digest = ""
    if tensors is not None:
        contents[tensors_path(path)], digest = encode(tensors)
    info = TraceInfo(
        name=workload.name,
        source=workload.source,
        method=workload.method,
        notes=workload.notes,
        command=command,
        tensors_sha256=digest,
    )
    contents[path] = _parquet(_table(workload, info))
    write_whole(contents)


def read_trace(path: Path | str) -> Workload:
    """Read the workload of a trace file; tensors beside it become values of its operands.

    Raises `InputError` that names the file, the row and what would be right.
    """
    path = Path(path)
    with _damage_is_an_input_error(path):
        table = _read_table(path)
        info = _info(table, path)
        _check_columns(table.schema, path)
        rows = table.to_pylist()
    operations = tuple(_operation(row, path, index) for index, row in enumerate(rows))
    _check_names(operations, f"trace {path}")
    if not operations:
        raise InputError(f"trace {path} must have at least one operation, not an empty table")
    workload = Workload(
        name=info.name,
        operations=operations,
        method=info.method,
        source=info.source,
        notes=info.notes,
    )
    return with_values(workload, path, info.tensors_sha256) if info.tensors_sha256 else workload


def read_info(path: Path | str) -> TraceInfo:
    """Read what a trace says about itself; raises `InputError` like `read_trace`."""
    with _damage_is_an_input_error(Path(path)):
        return _info(_read_table(Path(path)), Path(path))


def read_tensors(path: Path | str) -> dict[str, NDArray[np.generic]]:
    """Read the tensors beside the trace at `path`.

    Raises `InputError` if the trace has none, or if they are not the ones it was written with.
    """
    info = read_info(path)
    if not info.tensors_sha256:
        raise InputError(f"trace {path} was written without tensors; capture it with some to keep")
    return load_tensors(Path(path), info.tensors_sha256)


def shipped() -> dict[str, Path]:
    """Return the traces that come with this package, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.trace"))}


def read_shipped(name: str) -> Workload:
    """Read a trace that comes with this package; raises `InputError` for an unknown name."""
    paths = shipped()
    if name not in paths:
        raise InputError(f"shipped trace must be one of {', '.join(paths)}, not {name!r}")
    return read_trace(paths[name])


def _table(workload: Workload, info: TraceInfo) -> pa.Table:
    import pyarrow as pa

    extra = energy_columns(workload)
    types = {column.name: column.type for column in COLUMNS} | dict.fromkeys(extra, "double")
    try:
        rows = [_checked_row(op) for op in workload]
        schema = pa.schema([pa.field(name, _arrow_type(kind)) for name, kind in types.items()])
        arrays = [pa.array([row.get(f.name) for row in rows], type=f.type) for f in schema]
        metadata = _metadata(info) | {"pandas": _pandas_metadata(types)}
        return pa.table(arrays, schema=schema.with_metadata(metadata))
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise InputError(
            f"workload {workload.name!r} holds a value that a trace cannot: {first_line(error)}"
        ) from error


def _checked_row(operation: Operation) -> dict[str, Any]:
    """Return the row of an operation, if reading it gives the same operation."""
    row = row_of(operation)
    if operation_of(dict.fromkeys(column.name for column in COLUMNS) | row) != operation:
        raise InputError(f"{operation.name} must hold plain numbers and named patterns only")
    return row


def _metadata(info: TraceInfo) -> dict[str, str]:
    texts = {
        "schema_version": str(SCHEMA_VERSION),
        "name": info.name,
        "source": info.source,
        "method": info.method,
        "notes": json.dumps(info.notes),
        "command": info.command,
        "tensors_sha256": info.tensors_sha256,
    }
    return {_METADATA + key: text for key, text in texts.items()}


def _pandas_metadata(types: Mapping[str, str]) -> str:
    """Tell pandas to keep integers with empty cells as Int64, not as floating point."""
    nullable = {"int64": ("int64", "Int64"), "bool": ("bool", "boolean")}
    columns = [
        {
            "name": name,
            "field_name": name,
            "pandas_type": kind,
            "numpy_type": numpy,
            "metadata": None,
        }
        for name, (kind, numpy) in ((n, nullable[t]) for n, t in types.items() if t in nullable)
    ]
    return json.dumps({"index_columns": [], "column_indexes": [], "columns": columns})


def _parquet(table: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return bytes(sink.getvalue().to_pybytes())


def _read_table(path: Path) -> pa.Table:
    _check_file(path)
    import pyarrow.parquet as pq

    # Opened here, because the library takes no path that is not UTF-8.
    with open(path, "rb") as raw, pq.ParquetFile(raw, page_checksum_verification=True) as file:
        return file.read(use_threads=False)


@contextlib.contextmanager
def _damage_is_an_input_error(path: Path) -> Iterator[None]:
    """Say of whatever the Parquet library raises that the file is damaged."""
    import pyarrow as pa

    try:
        yield
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError, OverflowError) as error:
        raise InputError(
            f"trace {path} must be a whole Parquet file, but it is damaged or cut short: "
            f"{first_line(error)}"
        ) from error


def _check_file(path: Path) -> None:
    """Refuse what is no Parquet file before a library opens it."""
    try:
        with open(path, "rb") as file:
            head = file.read(4)
    except IsADirectoryError as error:
        raise InputError(f"trace {path} must be a file, but it is a directory") from error
    except FileNotFoundError as error:
        raise InputError(
            f"there is no trace file {path}; 'sparsight capture' writes one, and "
            f"{', '.join(shipped())} are shipped"
        ) from error
    except OSError as error:
        raise InputError(f"cannot read trace {path}: {error.strerror}") from error
    if head == _MAGIC:
        return
    if head == b"PK\x03\x04" or is_pickle(path, head):
        raise InputError(
            f"{path} looks like a pickle or a PyTorch checkpoint, which can run any code when it "
            "is opened; capture the model with 'sparsight capture module:function -o step.trace', "
            "and keep weights as safetensors"
        )
    raise InputError(f"trace {path} must be a Parquet file, but it does not start with PAR1")


def _info(table: pa.Table, path: Path) -> TraceInfo:
    found = table.schema.metadata or {}
    version = found.get(f"{_METADATA}schema_version".encode(), b"").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        raise InputError(_version_message(path, version))
    names = ("name", "source", "method", "notes", "command", "tensors_sha256")
    try:
        texts = {name: found[f"{_METADATA}{name}".encode()].decode() for name in names}
        notes = json.loads(texts.pop("notes"))
    except (KeyError, ValueError, RecursionError) as error:
        raise InputError(
            f"trace {path} must have the metadata {', '.join(_METADATA + n for n in names)} as "
            f"UTF-8 text: {first_line(error)}"
        ) from error
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise InputError(f"notes of trace {path} must be a JSON list of text, not {notes!r}")
    return TraceInfo(**texts, notes=tuple(notes))


def _version_message(path: Path, version: str) -> str:
    read = f"this program reads version {SCHEMA_VERSION}"
    if not version:
        return f"{path} is a Parquet file but no trace: it has no sparsight.schema_version; {read}"
    if version.isdecimal() and int(version) > SCHEMA_VERSION:
        return f"trace {path} has the newer schema version {version}; {read}: update it"
    return f"trace {path} has the schema version {version!r}; {read}: capture the model again"


def _check_columns(schema: pa.Schema, path: Path) -> None:
    known = {column.name: column.type for column in COLUMNS}
    if len(set(schema.names)) < len(schema.names):
        raise InputError(f"trace {path} must not name a column twice: {', '.join(schema.names)}")
    missing = [name for name in known if name not in schema.names]
    if missing:
        raise InputError(f"trace {path} must have the column {missing[0]}, but lacks it")
    for field in schema:
        if field.name not in known and not ENERGY_COLUMN.fullmatch(field.name):
            raise InputError(
                f"trace {path} has the unknown column {field.name!r}; version {SCHEMA_VERSION} has "
                f"{', '.join(known)} and SIDE_energy_N_M"
            )
        wanted = _arrow_type(known.get(field.name, "double"))
        if field.type != wanted:
            raise InputError(
                f"column {field.name} of trace {path} must have the type {wanted}, not {field.type}"
            )


def _arrow_type(kind: str) -> pa.DataType:
    import pyarrow as pa

    return {"string": pa.string(), "int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_()}[
        kind
    ]


def _operation(row: dict[str, Any], path: Path, index: int) -> Operation:
    try:
        return operation_of(row)
    except InputError as error:
        raise InputError(f"row {index} ({row['name']}) of trace {path}: {error}") from error


def _check_names(operations: Sequence[Operation], where: str) -> None:
    """Raise `InputError` where two operations have the same name."""
    rows: dict[str, int] = {}
    for row, op in enumerate(operations):
        if rows.setdefault(op.name, row) != row:
            raise InputError(
                f"names of operations must differ, but rows {rows[op.name]} and {row} of {where} "
                f"are both {op.name!r}"
            )
