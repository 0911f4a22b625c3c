"""Studies from Python: say what to sweep, run it, get a DataFrame."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from simulator.sweep import execute, export
from simulator.sweep.definition import VERSION, Definition, from_values, read_file
from simulator.sweep.pareto import frame_front
from simulator.sweep.progress import Progress, Silent
from simulator.sweep.runner import COMPLETE, Limits, Loop, Watcher, run_stages
from simulator.sweep.stages import plan
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


class Ways(TypedDict, total=False):
    """Where and how points are evaluated.

    `executor` is any executor of `concurrent.futures`; else points run on the Dask scheduler at the
    address `cluster`, else in `workers` processes of this machine (None: one a core, as far as
    there is work for them; 1: none but this). Above `max_failures` failed points the run ends.
    `progress` shows a bar on standard error.
    """

    workers: int | None
    cluster: str | None
    executor: Executor | None
    max_failures: int | None
    progress: bool


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
        self._prepare(from_values({"version": VERSION, **values}))

    def _prepare(self, definition: Definition) -> None:
        self.definition = definition
        self.outcome: Outcome | None = None
        self.watcher: Watcher | None = None
        self._plan = plan(definition)

    @classmethod
    def from_file(cls, path: str | Path) -> Study:
        """Read a study file (TOML). Raises `InputError` with the place of what is wrong."""
        study = cls.__new__(cls)
        definition = read_file(Path(path))
        try:
            study._prepare(definition)
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
        report: str | Path | None = None,
        **ways: Unpack[Ways],
    ) -> pd.DataFrame:
        """Evaluate every point that the store does not have; return all points.

        `ways` says where and how (see `Ways`). Without a `store` nothing is kept on disk. With a
        `report`, one HTML page is written there. The table is the same whoever computed it;
        `outcome` says how the run ended. Raises `InputError`.
        """
        with self.executed(store, **ways) as opened:
            if report is not None:
                write_whole({Path(report): self.page(opened).encode()})
            return export.frame(opened)

    @contextmanager
    def executed(self, store: str | Path | None, **ways: Unpack[Ways]) -> Iterator[Store]:
        """Run as `run` does, and yield the open store to read from.

        Nothing is written before the executor answers.
        """
        with self._executor(ways) as (executor, width), self.open(store) as opened:
            self._loop(opened, executor, width, ways)
            yield opened

    def run_into(self, store: Store, **ways: Unpack[Ways]) -> Outcome:
        """Evaluate every point that an open store does not have; return how the run ended."""
        with self._executor(ways) as (executor, width):
            return self._loop(store, executor, width, ways)

    def _executor(self, ways: Ways) -> AbstractContextManager[tuple[Executor, int]]:
        given = ways.get("executor")
        if given is not None:
            return nullcontext((given, _width(given)))
        workers = ways.get("workers")
        if workers is None:
            workers = min(execute.cores(), max(1, self._plan.most_tasks))
        return execute.executor(workers, ways.get("cluster"))

    def _loop(self, store: Store, executor: Executor, width: int, ways: Ways) -> Outcome:
        points, failures = store.counts()
        limits = Limits(max_failures=ways.get("max_failures"), failures=failures)
        store.start_run()
        bar = Progress(self.definition.name, points, failures) if ways.get("progress") else None
        with bar or nullcontext():
            watcher = bar or self.watcher or Silent()
            loop = Loop(self.definition, store, executor, width, limits, watcher)
            reason = run_stages(loop, self._plan.stages(store))
        points, failures = store.counts()
        self.outcome = Outcome(reason=reason, points=points, failures=failures)
        return self.outcome

    def page(self, store: Store) -> str:
        """Return one HTML page about the points of an open store, which opens without a network."""
        from simulator.sweep.report import render

        return render(self.definition, store)

    def open(self, store: str | Path | None) -> Store:
        """Open or make the store of this study."""
        return open_store(None if store is None else Path(store), self.definition)

    def pareto(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the points of a result table that no other point of their workload beats."""
        return frame_front(table, self.definition.signs)


def _width(executor: Executor) -> int:
    """Return how many tasks an executor runs at once, as far as it says."""
    return max(1, int(getattr(executor, "_max_workers", 1) or 1))


def store_path(study: Path) -> Path:
    """Return where the command line keeps the results of a study file: beside it, `.sqlite`."""
    return study.with_suffix(".sqlite")
