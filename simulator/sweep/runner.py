"""Run a study: take blocks, have them evaluated, keep what comes back, stop when told.

The loop owns nothing but the tasks in flight. Blocks that other processes have taken are theirs;
when nothing else is left, the loop waits for them, and takes over those of processes that died.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from simulator.sweep.definition import Definition
from simulator.sweep.evaluate import Results, Task, evaluate, forget_workloads
from simulator.sweep.rows import result_rows
from simulator.sweep.space import Designs
from simulator.sweep.store import Store
from workloads.errors import InputError

POLL_SECONDS = 0.1
COMPLETE, INTERRUPTED, TOO_MANY_FAILURES = "complete", "interrupted", "too many failures"


class Stage(Protocol):
    """Blocks that can be evaluated in any order; `numbers` of a study never repeat."""

    @property
    def numbers(self) -> Sequence[int]:
        """The numbers of the blocks."""

    def block(self, number: int) -> tuple[str, Designs]:
        """Return the accelerator and the designs of a block."""


class Watcher(Protocol):
    """Whoever shows how far the study is."""

    def stage(self, blocks: int, done: int) -> None:
        """Hear of a new stage and of how many of its blocks are done already."""

    def finished(self, points: int, failures: int) -> None:
        """Hear of a finished block."""

    def stopping(self) -> None:
        """Hear that somebody asked to stop: blocks in flight are finished, no further one begun."""


@dataclass
class Limits:
    """When to stop early: at Ctrl-C (`stop` is set) or above `max_failures` failed points."""

    max_failures: int | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    failures: int = 0

    @property
    def reached(self) -> str | None:
        """Why to stop, or None."""
        if self.max_failures is not None and self.failures > self.max_failures:
            return TOO_MANY_FAILURES
        return INTERRUPTED if self.stop.is_set() else None


@dataclass
class Loop:
    """One process's share of a study."""

    definition: Definition
    store: Store
    executor: Executor
    width: int
    limits: Limits
    watcher: Watcher
    flying: dict[Future[Results], tuple[str, Designs]] = field(default_factory=dict)
    hashed: set[tuple[int, str]] = field(default_factory=set)

    def run(self, stage: Stage) -> str:
        """Evaluate every block of a stage; return `COMPLETE` or why not."""
        done = self.store.done_blocks()
        self.watcher.stage(len(stage.numbers), len(done.intersection(stage.numbers)))
        while pending := [number for number in stage.numbers if number not in done]:
            before = len(pending)
            reason = self._pass(stage, pending)
            if reason != COMPLETE:
                return reason
            self.store.release_dead()
            done = self.store.done_blocks()
            if len(done.intersection(pending)) < before:
                self.limits.stop.wait(POLL_SECONDS)
        return COMPLETE

    def _pass(self, stage: Stage, pending: Sequence[int]) -> str:
        """Take and evaluate every pending block that is free."""
        at_once = self.width + 1
        for first in range(0, len(pending), at_once):
            if self.limits.reached:
                break
            for number in self.store.take(pending[first : first + at_once]):
                if not self.limits.reached:
                    self._start(number, *stage.block(number))
        if self.limits.stop.is_set():
            self.watcher.stopping()
        while self.flying:
            self._collect()
        return self.limits.reached or COMPLETE

    def _start(self, number: int, accelerator: str, designs: Designs) -> None:
        """Send a block off, once there is room for it."""
        while len(self.flying) > self.width:
            self._collect()
        if not len(designs):
            self.store.finish(number, [])
            self.watcher.finished(0, 0)
            return
        task = Task(
            block=number,
            accelerator=accelerator,
            cases=self.definition.cases,
            methods=designs.methods,
            fields=designs.fields,
        )
        self.flying[self.executor.submit(evaluate, task)] = (accelerator, designs)

    def _collect(self) -> None:
        """Keep the results of the blocks that are ready; wait for one if none is."""
        ready, _ = wait(self.flying, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in ready:
            accelerator, designs = self.flying.pop(future)
            self._keep(accelerator, designs, future.result())

    def _keep(self, accelerator: str, designs: Designs, results: Results) -> None:
        for (case, method), digest in results.hashes.items():
            if (case, method) not in self.hashed:
                self.store.note_workload(case, method, digest)
                self.hashed.add((case, method))
        rows = result_rows(self.definition, accelerator, designs, results)
        points = len(designs) * len(self.definition.cases)
        if self.store.finish(results.block, rows):
            self.limits.failures += len(results.errors)
            self.watcher.finished(points, len(results.errors))


def run_stages(loop: Loop, stages: Iterator[Stage]) -> str:
    """Run one stage after the other; return `COMPLETE` or why it ended early.

    Raises `InputError` if the processes that compute are gone.
    """
    forget_workloads()
    with _until_interrupted(loop.limits.stop):
        try:
            for stage in stages:
                reason = loop.run(stage)
                if reason != COMPLETE:
                    return reason
        except BrokenExecutor as error:
            if loop.limits.stop.is_set():  # the workers were told to end as well
                return INTERRUPTED
            raise InputError(
                f"a worker process died ({error}); finished points are kept, and the same command "
                "goes on where it stopped"
            ) from error
    return COMPLETE


@contextmanager
def _until_interrupted(stop: threading.Event) -> Iterator[None]:
    """Turn the first Ctrl-C, or SIGTERM, into a request to finish; the second one interrupts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
