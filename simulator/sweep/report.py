"""One HTML page about a study that opens without a network: look at the front, and into any point.

The page holds its numbers as JSON, Plotly's script and `templates/sweep.js`, which draws them. A
study of many points is shown by its front and an even sample of the others; the sensitivities are
of all points. Every point shown can be opened: its breakdown by layer is simulated for the page.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.glossary import GLOSSARY
from simulator.sweep import export
from simulator.sweep.breakdowns import breakdowns
from simulator.sweep.definition import METRICS, Case, Definition
from simulator.sweep.sensitivity import effects
from simulator.sweep.store import Store
from simulator.sweep.version import code_version
from workloads.rounding import ceil_div

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 1500
"""Points of the page, at most, those of the front among them; a longer front is shown whole."""

BREAKDOWN_SECONDS = 30.0
SENSITIVITY_POINTS = 200_000
"""Points that sensitivities are taken from; beyond, an even sample of them."""


def render(definition: Definition, store: Store) -> str:
    """Return the page for the points that the store has."""
    import jinja2
    from plotly.offline import get_plotlyjs

    folder = resources.files("simulator").joinpath("templates")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    values = page_values(definition, store)
    return environment.from_string(folder.joinpath("sweep.html").read_text("utf-8")).render(
        title=definition.name,
        lead=_lead(definition, store, shown=len(values["case"])),
        plotly=get_plotlyjs(),
        script=folder.joinpath("sweep.js").read_text("utf-8"),
        study=_script_json(values),
        version=code_version(),
    )


def page_values(definition: Definition, store: Store) -> dict[str, Any]:
    """Return everything that the page draws, JSON-ready."""
    table, on_front = _shown(store)
    cases = {(case.network, case.batch): place for place, case in enumerate(definition.cases)}
    places = [cases[key] for key in zip(table.network, table.batch, strict=True)]
    points = [
        {**row, "case": definition.cases[place]}
        for row, place in zip(_plain(table), places, strict=True)
    ]
    fields = {space.accelerator: list(space.fields) for space in definition.spaces}
    order = np.argsort(~on_front, kind="stable")
    found, layers = breakdowns([points[i] for i in order], fields, BREAKDOWN_SECONDS)
    by_place = dict(zip(order.tolist(), found, strict=True))
    columns = [name for name in table.columns if name not in ("network", "batch", "error")]
    return {
        "cases": [_case_name(case) for case in definition.cases],
        "objectives": definition.signs,
        "columns": [_column(name, definition, table) for name in columns],
        "rows": {name: _values(table[name]) for name in columns},
        "case": places,
        "front": on_front.tolist(),
        "breakdowns": [by_place[i] for i in range(len(table))],
        "layers": layers,
        "sensitivity": _sensitivity(definition, store),
    }


def _lead(definition: Definition, store: Store, *, shown: int) -> str:
    points, failures = store.counts()
    failed = f", {failures} of them failed" if failures else ""
    whole = shown == points - failures
    sample = "" if whole else f"; {shown} are shown, all of the front among them"
    wanted = " and ".join(
        f"{'largest' if sign < 0 else 'smallest'} {name}" for name, sign in definition.signs.items()
    )
    return (
        f"{points} points of {', '.join(definition.accelerators)}{failed}{sample}. "
        f"Wanted: {wanted}. Search: {definition.search.kind}."
    )


def _shown(store: Store) -> tuple[pd.DataFrame, Any]:
    """Return the front and an even sample of the other points that did not fail."""
    import pandas as pd

    front = export.front(store)
    points, _ = store.counts()
    stride = max(1, ceil_div(points, max(1, SHOWN - len(front))))
    others = export.frame(store, 'WHERE error IS NULL AND (point * 31 + "case") % ? = 0', (stride,))
    keys = ["point", "network", "batch"]
    table = pd.concat([front, others]).drop_duplicates(keys).sort_values(keys)
    table = table.reset_index(drop=True)
    marked = table.merge(front[keys].assign(on_front=True), on=keys, how="left")
    return table, marked.on_front.notna().to_numpy()


def _sensitivity(definition: Definition, store: Store) -> list[dict[str, Any]]:
    points, _ = store.counts()
    stride = max(1, ceil_div(points, SENSITIVITY_POINTS))
    table = export.frame(store, "WHERE error IS NULL AND point % ? = 0", (stride,))
    names = ["accelerator", "method", *definition.fields]
    found = []
    for place, case in enumerate(definition.cases):
        rows = table[(table.network == case.network) & (table.batch == case.batch)]
        for objective in definition.signs:
            shared = {"case": place, "objective": objective}
            found += [shared | asdict(effect) for effect in effects(rows, names, objective)]
    return found


def _case_name(case: Case) -> str:
    return f"{case.network}, batch {case.batch}" if case.batch else case.network


def _column(name: str, definition: Definition, table: pd.DataFrame) -> dict[str, Any]:
    role = "result"
    if name in (*definition.fields, "accelerator", "method"):
        role = "parameter"
    elif name in ("point", "feasible"):
        role = "identity"
    elif name in definition.quantity_texts:
        role = "quantity"
    term = GLOSSARY.get(name) if name in METRICS else None
    unit = term.unit if term and term.unit != "-" else ""
    number = table[name].dtype.kind in "iuf"
    meaning = definition.quantity_texts.get(name, term.meaning if term else "")
    return {"name": name, "role": role, "unit": unit, "number": number, "meaning": meaning}


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    columns = {name: _values(table[name]) for name in table.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _values(column: Any) -> list[Any]:
    """Return plain values; what is missing or not a number is None."""
    return [None if value is None or value != value else value for value in _listed(column)]


def _listed(column: Any) -> list[Any]:
    import pandas as pd

    listed: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return [None if value is pd.NA else value for value in listed]


def _script_json(values: Any) -> str:
    """Write JSON that may stand inside a script element."""
    return json.dumps(values, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
