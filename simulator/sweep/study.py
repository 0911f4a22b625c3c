"""Studies from Python: say what to sweep, run it, get a DataFrame."""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.sweep import execute, export, stages
from simulator.sweep.definition import VERSION, Definition, from_values, read_file
from simulator.sweep.pareto import frame_front
from simulator.sweep.progress import Progress, Silent
from simulator.sweep.runner import COMPLETE, Limits, Loop, Watcher, run_stages
from simulator.sweep.store import Store, open_store
from workloads.errors import InputError
from workloads.files import write_whole

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended: `reason` is complete, interrupted or too many failures."""

    reason: str
    points: int
    failures: int

    @property
    def complete(self) -> bool:
        """Whether every point of the study is there."""
        return self.reason == COMPLETE


class Study:
    """A sweep of design points. The keywords are the keys of a study file, `space` included.

    >>> study = Study(networks=["resnet9"], space={"rows": [16, 32], "cols": {"derive": "rows"}})
    >>> table = study.run(workers=1)
    >>> table[["rows", "cols", "network", "method"]].values.tolist()
    [[16, 16, 'resnet9', 'dense'], [32, 32, 'resnet9', 'dense']]
    >>> bool(table.cycles[0] > table.cycles[1])
    True
    """

    def __init__(self, **values: Any) -> None:
        self.definition: Definition = from_values({"version": VERSION, **values})
        self.outcome: Outcome | None = None
        self.watcher: Watcher | None = None
        stages.check(self.definition)

    @classmethod
    def from_file(cls, path: str | Path) -> Study:
        """Read a study file (TOML). Raises `InputError` with the place of what is wrong."""
        study = cls.__new__(cls)
        study.definition = read_file(Path(path))
        study.outcome = study.watcher = None
        try:
            stages.check(study.definition)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        return study

    @classmethod
    def from_frame(cls, designs: pd.DataFrame, **values: Any) -> Study:
        """Make a study of listed designs: a column a config field, and "method" if there are any.

        >>> import pandas as pd
        >>> study = Study.from_frame(pd.DataFrame({"rows": [8, 16]}), networks=["resnet9"])
        >>> study.run(workers=1).rows.tolist()
        [8, 16]
        """
        columns = {str(name): designs[name].tolist() for name in designs.columns}
        return cls(designs=columns, **values)

    def run(
        self,
        *,
        store: str | Path | None = None,
        workers: int | None = None,
        cluster: str | None = None,
        executor: Executor | None = None,
        max_failures: int | None = None,
        progress: bool = False,
        report: str | Path | None = None,
    ) -> pd.DataFrame:
        """Evaluate every point that the store does not have; return all points.

        Points run in `executor`, on the Dask scheduler at the address `cluster`, or in `workers`
        processes of this machine (None: one a core; 1: none but this). Without a `store` nothing is
        kept on disk. With a `report`, one HTML page is written there. The table is the same whoever
        computed it; `outcome` says how the run ended.
        Raises `InputError`.
        """
        with self.open(store) as opened:
            self.run_into(
                opened,
                workers=workers,
                cluster=cluster,
                executor=executor,
                max_failures=max_failures,
                progress=progress,
            )
            if report is not None:
                write_whole({Path(report): self.page(opened).encode()})
            return export.frame(opened)

    def page(self, store: Store) -> str:
        """Return one HTML page about the points of an open store, which opens without a network."""
        from simulator.sweep.report import render

        return render(self.definition, store)

    def open(self, store: str | Path | None) -> Store:
        """Open or make the store of this study."""
        return open_store(None if store is None else Path(store), self.definition)

    def run_into(
        self,
        store: Store,
        *,
        workers: int | None = None,
        cluster: str | None = None,
        executor: Executor | None = None,
        max_failures: int | None = None,
        progress: bool = False,
    ) -> Outcome:
        """Evaluate every point that an open store does not have; return how the run ended."""
        points, failures = store.counts()
        limits = Limits(max_failures=max_failures, failures=failures)
        given = nullcontext((executor, _width(executor))) if executor is not None else None
        with given if given is not None else execute.executor(workers, cluster) as (found, width):
            store.start_run()
            shown = Progress(self.definition.name, points, failures) if progress else None
            with shown or nullcontext():
                loop = Loop(
                    self.definition, store, found, width, limits, shown or self.watcher or Silent()
                )
                reason = run_stages(loop, stages.stages(self.definition, store))
        self.outcome = Outcome(
            reason=reason, **dict(zip(("points", "failures"), store.counts(), strict=True))
        )
        return self.outcome

    def pareto(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the points of a result table that no other point of their workload beats."""
        return frame_front(table, self.definition.signs)


def _width(executor: Executor) -> int:
    """Return how many tasks an executor runs at once, as far as it says."""
    return max(1, int(getattr(executor, "_max_workers", 1) or 1))


def store_path(study: Path) -> Path:
    """Return where the command line keeps the results of a study file: beside it, `.sqlite`."""
    return study.with_suffix(".sqlite")
