"""Compare published numbers with ours: relative error, verdict, and the files that record both."""

from __future__ import annotations

import importlib
import math
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, get_args

from simulator import published
from simulator.published import Row
from workloads.files import csv_content, json_content

Verdict = Literal["ok", "miss", "expected-miss", "peer", "recalled", "shown"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""The last three are those of rows without a tolerance: of other tools, from memory, and others."""

UNASSERTED: dict[str, Verdict] = {"measured": "peer", "recalled": "recalled"}
"""Verdicts of rows without a tolerance by how they were read; any other is `shown`."""

JUDGED_COLUMNS = (
    "exhibit",
    "quantity",
    "published",
    "ours",
    "rel_error",
    "tolerance",
    "verdict",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A published number beside ours, which is not a number where there is no way to compute it."""

    row: Row
    ours: float

    @property
    def computed(self) -> bool:
        """Whether ours is a number."""
        return not math.isnan(self.ours)

    @property
    def rel_error(self) -> float:
        """Ours over published, minus one; the difference if the published number is zero."""
        if self.row.published == 0:
            return self.ours
        return self.ours / self.row.published - 1

    @property
    def agrees(self) -> bool:
        """Whether ours is within the tolerance, or on the right side of a bound."""
        if self.row.tolerance is None:
            return True
        match self.row.relation:
            case "<=":
                return self.rel_error <= self.row.tolerance
            case ">=":
                return self.rel_error >= -self.row.tolerance
        return abs(self.rel_error) <= self.row.tolerance

    @property
    def verdict(self) -> Verdict:
        """What to conclude. A row whose expected miss is gone is a miss: its reason is wrong."""
        if self.row.tolerance is None:
            return UNASSERTED.get(self.row.tag, "shown")
        if self.row.expected_miss:
            return "miss" if self.agrees else "expected-miss"
        return "ok" if self.agrees else "miss"

    def as_dict(self) -> dict[str, Any]:
        """Return the stable keys of the command line, then what explains them."""
        return {
            "exhibit": self.row.exhibit,
            "quantity": self.row.quantity,
            "published": self.row.published,
            "ours": self.ours if self.computed else None,
            "rel_error": self.rel_error if self.computed else None,
            "tolerance": self.row.tolerance,
            "verdict": self.verdict,
            "unit": self.row.unit,
            "relation": self.row.relation,
            "tag": self.row.tag,
            "source": self.row.source,
            "note": self.row.note,
            "expected_miss": self.row.expected_miss,
        }


def experiment(exhibit: str) -> Callable[[], dict[str, float]]:
    """Return the function that computes an exhibit."""
    paper, _, name = exhibit.partition("/")
    module = importlib.import_module(f"simulator.experiments.{paper}")
    found: Callable[[], dict[str, float]] = getattr(module, name.replace("-", "_"))
    return found


def judge(exhibit: str) -> list[Judged]:
    """Compute an exhibit and set ours beside each published number."""
    rows, ours = published.read(exhibit), experiment(exhibit)()
    stated, computed = {row.quantity for row in rows}, set(ours)
    assert stated == computed, f"{exhibit}: {stated ^ computed} is not on both sides"
    return [Judged(row=row, ours=ours[row.quantity]) for row in rows]


def files(exhibit: str, judged: Sequence[Judged], folder: Path) -> dict[Path, bytes]:
    """Return what to write for an exhibit: the published rows, ours, and how they were made."""
    base = folder / exhibit
    return {
        base.with_name(f"{base.name}.paper.csv"): published.path(exhibit).read_bytes(),
        base.with_name(f"{base.name}.ours.csv"): csv_content(
            (each.as_dict() for each in judged), JUDGED_COLUMNS
        ),
        base.with_name(f"{base.name}.meta.json"): json_content(_meta(exhibit, judged)),
    }


def _meta(exhibit: str, judged: Sequence[Judged]) -> dict[str, Any]:
    """Say how the numbers were made; no times, so that the same program writes the same file."""
    function = experiment(exhibit)
    verdicts = Counter(each.verdict for each in judged)
    return {
        "command": f"sparsight reproduce {exhibit}",
        "function": f"{function.__module__}.{function.__name__}",
        "verdicts": dict(sorted(verdicts.items())),
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
    }
