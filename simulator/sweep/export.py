"""A store's points as a DataFrame, and as Parquet or CSV files, a block of rows at a time."""

from __future__ import annotations

import csv
import os
import secrets
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.sweep.definition import METRICS, WHOLE_METRICS
from simulator.sweep.space import field_kind, field_names
from simulator.sweep.store import Store
from workloads.errors import InputError
from workloads.files import file_named

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ROWS = 50_000
HIDDEN = ("case",)
"""Columns of the store that a table does not show: network and batch say the same."""


def column_kinds(store: Store) -> dict[str, type]:
    """Return int, float, bool or str for every column of the table, in order."""
    kinds: dict[str, type] = {"point": int, "batch": int, "feasible": bool}
    kinds |= dict.fromkeys(("accelerator", "network", "method", "error"), str)
    kinds |= {name: int if name in WHOLE_METRICS else float for name in METRICS}
    kinds |= dict.fromkeys(store.definition.quantity_texts, float)
    for name in store.definition.fields:
        owners = [a for a in store.definition.accelerators if name in field_names(a)]
        kinds[name] = field_kind(owners[0], name)
    return {name: kinds[name] for name in store.columns if name not in HIDDEN}


def frame(store: Store, where: str = "", values: tuple[Any, ...] = ()) -> pd.DataFrame:
    """Return the points as a DataFrame, texts as categories, in order of design and case.

    Whole numbers and truths with gaps (fields of another accelerator, results of a point that
    failed) are pandas' nullable ones.
    """
    import pandas as pd

    kinds = column_kinds(store)
    parts = [_part(kinds, rows) for rows in _blocks(store, list(kinds), where, values)]
    if not parts:
        return _part(kinds, [])
    return pd.concat(parts, ignore_index=True).astype(
        {name: "category" for name, kind in kinds.items() if kind is str}
    )


def front(store: Store) -> pd.DataFrame:
    """Return the points that no other point of their workload beats, read a block at a time."""
    import pandas as pd

    from simulator.sweep.pareto import frame_front

    kinds = column_kinds(store)
    kept = _part(kinds, [])
    for rows in _blocks(store, list(kinds)):
        kept = frame_front(pd.concat([kept, _part(kinds, rows)]), store.definition.signs)
    return kept.reset_index(drop=True)


def _part(kinds: dict[str, type], rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    import pandas as pd

    columns = list(zip(*rows, strict=True)) if rows else [()] * len(kinds)
    pairs = zip(kinds.items(), columns, strict=True)
    return pd.DataFrame({name: _column(values, kind) for (name, kind), values in pairs})


def _column(values: tuple[Any, ...], kind: type) -> Any:
    import pandas as pd

    if kind in (str, object):
        same: dict[Any, Any] = {}
        return pd.Series([same.setdefault(value, value) for value in values], dtype=object)
    if kind is float:
        return np.array(values, np.float64)  # None becomes NaN
    if None in values:
        known = [value if value is None else kind(value) for value in values]
        return pd.array(known, dtype="Int64" if kind is int else "boolean")
    return np.array(values, np.int64 if kind is int else np.bool_)


def write_csv(store: Store, path: Path) -> None:
    """Write the points as CSV, whole or not at all."""
    kinds = column_kinds(store)

    def write(temporary: Path) -> None:
        with open(temporary, "x", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(kinds)
            for rows in _blocks(store, list(kinds)):
                writer.writerows(rows)
            file.flush()
            os.fsync(file.fileno())

    _whole(path, write)


def write_parquet(store: Store, path: Path) -> None:
    """Write the points as Parquet with the study in its metadata, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = column_kinds(store)
    schema = _schema(kinds).with_metadata({"sparsight_study": store.definition.as_json()})

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, schema) as writer:
            for rows in _blocks(store, list(kinds)):
                columns = zip(*rows, strict=True)
                arrays = [
                    pa.array(_typed(column, kind), type=kind_type)
                    for column, kind, kind_type in zip(
                        columns, kinds.values(), schema.types, strict=True
                    )
                ]
                writer.write_table(pa.table(arrays, schema=schema))

    _whole(path, write)


def _schema(kinds: dict[str, type]) -> pa.Schema:
    import pyarrow as pa

    types = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    return pa.schema([(name, types.get(kind, pa.string())) for name, kind in kinds.items()])


def _typed(column: tuple[Any, ...], kind: type) -> list[Any]:
    cast = {int: int, float: float, bool: bool}.get(kind, str)
    return [None if value is None else cast(value) for value in column]


def first_error(store: Store) -> str | None:
    """Return the error of the first point that failed, if any did."""
    for (error,) in store.rows(["error"], "WHERE error IS NOT NULL"):
        return str(error).removeprefix("InputError: ")
    return None


def _blocks(
    store: Store, columns: list[str], where: str = "", values: tuple[Any, ...] = ()
) -> Iterator[list[tuple[Any, ...]]]:
    rows = store.rows(columns, where, values)
    while block := list(islice(rows, ROWS)):
        yield block


def _whole(path: Path, write: Callable[[Path], None]) -> None:
    """Write to a temporary name beside `path` and take its place; raise `InputError` if refused."""
    final = file_named(path)
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}.part")
    try:
        write(temporary)
        os.replace(temporary, final)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
