"""The results of a study in one SQLite file that several processes may fill and a crash may leave.

Tables: `meta` (format, study, code version), `runs` (who computed, when, with what), `workloads`
(the hash of each case and method), `blocks` (which block of designs is taken by whom, and done) and
`results` (one row a point: design number and case, with everything swept and found).

A block's rows and its mark `done` are one transaction of a write-ahead journal: after a crash at
any moment a block is there whole or not at all. A block that is taken but not done belongs to a
process that holds a lock on a file beside the store; the system releases the lock when the process
ends in whatever way, and the next process to look takes the block over. Locks and journal need
processes of one machine; workers on others send their results to the process that holds the store.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from simulator.sweep.definition import METRICS, WHOLE_METRICS, Definition
from simulator.sweep.version import code_version
from workloads.errors import InputError

FORMAT = "1"
BUSY_SECONDS = 60.0
COMMON = ("accelerator", "network", "batch", "method")


class Store:
    """An open store of one study; a context manager. Made by `open_store`."""

    def __init__(self, path: Path | None, definition: Definition) -> None:
        self.path = path
        self.definition = definition
        self.columns = result_columns(definition)
        self._token = secrets.token_hex(8)
        self._lock: Any = None
        self._run = 0
        self._connection = _connect(path)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the blocks that are not done and close the file."""
        if self._lock is not None:
            with self._writing() as execute:
                execute("DELETE FROM blocks WHERE owner = ? AND done = 0", (self._token,))
            self._lock.close()
            self._lock_path(self._token).unlink(missing_ok=True)
            self._lock = None
        self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """Run one transaction; raise `InputError` if the disk refuses it."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection.execute
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise _refused(self.path, error) from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def start_run(self) -> None:
        """Note who computes from now on; blocks may then be taken."""
        if self.path is not None:
            self._lock = _lock(self._lock_path(self._token), self.path)
        about = (
            datetime.now(UTC).isoformat(timespec="seconds"),
            platform.node(),
            os.getpid(),
            code_version(),
            self.definition.search.seed,
            f"python {platform.python_version()} on {platform.machine()}",
        )
        with self._writing() as execute:
            self._run = execute(
                "INSERT INTO runs(started, host, pid, code_version, seed, system)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                about,
            ).lastrowid

    def note_workload(self, case: int, method: str, digest: str) -> None:
        """Note the hash of the workload of a case and method.

        Raises `InputError` if it was another one before: a file that it comes from has changed.
        """
        with self._writing() as execute:
            execute("INSERT OR IGNORE INTO workloads VALUES (?, ?, ?)", (case, method, digest))
            noted = 'SELECT hash FROM workloads WHERE "case" = ? AND method = ?'
            ((before,),) = execute(noted, (case, method))
        if before != digest:
            name = self.definition.cases[case].network
            raise InputError(
                f"{name} has changed since the store {self.path} was begun; name another --store"
            )

    def done_blocks(self) -> set[int]:
        """Return the numbers of the finished blocks."""
        return {row[0] for row in self._read("SELECT block FROM blocks WHERE done = 1")}

    def take(self, blocks: Sequence[int]) -> list[int]:
        """Take those of the blocks that nobody has taken or done; return them."""
        with self._writing() as execute:
            return [
                block
                for block in blocks
                if execute(
                    "INSERT OR IGNORE INTO blocks VALUES (?, ?, 0)", (block, self._token)
                ).rowcount
            ]

    def finish(self, block: int, rows: Iterable[Sequence[Any]]) -> bool:
        """Add the rows of a block and mark it done; False if another process took it over."""
        marks = ", ".join("?" * len(self.columns))
        with self._writing() as execute:
            mine = execute(
                "UPDATE blocks SET done = 1 WHERE block = ? AND owner = ? AND done = 0",
                (block, self._token),
            ).rowcount
            if mine:
                statement = f"INSERT INTO results VALUES ({marks}, {self._run})"
                self._connection.executemany(statement, rows)
        return bool(mine)

    def release_dead(self) -> int:
        """Free the blocks of processes that are gone; return how many."""
        freed = 0
        taken = "SELECT DISTINCT owner FROM blocks WHERE done = 0 AND owner <> ?"
        for (owner,) in list(self._read(taken, (self._token,))):
            if self.path is None or not _is_locked(self._lock_path(owner)):
                with self._writing() as execute:
                    freed += execute(
                        "DELETE FROM blocks WHERE owner = ? AND done = 0", (owner,)
                    ).rowcount
                self._lock_path(owner).unlink(missing_ok=True)
        return freed

    def counts(self) -> tuple[int, int]:
        """Return how many points there are, and how many of them failed."""
        points, failures = next(self._read("SELECT count(*), count(error) FROM results"))
        return points, failures

    def rows(
        self, columns: Sequence[str] | None = None, where: str = "", values: Sequence[Any] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """Yield points in order of design and case, all columns or the named ones."""
        names = ", ".join(f'"{name}"' for name in columns or self.columns)
        return self._read(
            f'SELECT {names} FROM results {where} ORDER BY point, "case"', tuple(values)
        )

    def _read(self, statement: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        try:
            yield from self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise _refused(self.path, error) from error

    def _lock_path(self, token: str) -> Path:
        assert self.path is not None
        return self.path.with_name(f"{self.path.name}.{token}.lock")


def result_columns(definition: Definition) -> tuple[str, ...]:
    """Return the columns of a point, in order; `case` numbers network and batch."""
    return (
        "point",
        "case",
        *COMMON,
        *definition.fields,
        *METRICS,
        *definition.quantity_texts,
        *(("feasible",) if definition.result_constraints else ()),
        "error",
    )


def open_store(path: Path | None, definition: Definition) -> Store:
    """Open or make the store of a study; without a path it lives in memory.

    Raises `InputError`, and changes nothing, if the file is no store, holds another study, was
    filled by another version of the code, or cannot be written.
    """
    if path is not None:
        _check_place(path)
        _check(path, definition)
    store = Store(path, definition)
    try:
        _create(store, definition)
        if path is not None:
            _check(path, definition)
    except BaseException:
        store.close()
        raise
    return store


def _create(store: Store, definition: Definition) -> None:
    """Make the tables unless they are there."""
    whole = {"point", "case", "batch", "feasible", *WHOLE_METRICS}
    columns = ", ".join(f'"{c}"{" INTEGER" if c in whole else ""}' for c in store.columns)
    about = {
        "format": FORMAT,
        "study": definition.digest,
        "definition": definition.as_json(),
        "code_version": code_version(),
        "cases": json.dumps([[c.network, c.batch, c.mode] for c in definition.cases]),
    }
    with store._writing() as execute:
        execute("CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT)")
        execute(
            "CREATE TABLE IF NOT EXISTS runs(run INTEGER PRIMARY KEY, started TEXT, host TEXT, "
            "pid INTEGER, code_version TEXT, seed INTEGER, system TEXT)"
        )
        execute(
            'CREATE TABLE IF NOT EXISTS workloads("case" INTEGER, method TEXT, hash TEXT, '
            'PRIMARY KEY ("case", method))'
        )
        execute(
            "CREATE TABLE IF NOT EXISTS blocks(block INTEGER PRIMARY KEY, owner TEXT, done INTEGER)"
        )
        execute(
            f"CREATE TABLE IF NOT EXISTS results({columns}, run INTEGER, "
            'PRIMARY KEY (point, "case")) WITHOUT ROWID'
        )
        for item in about.items():
            execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", item)


def _check_place(path: Path) -> None:
    if not path.absolute().parent.is_dir():
        raise InputError(f"cannot make the store {path}: there is no folder {path.parent}")
    if not os.access(path.absolute().parent, os.W_OK):
        raise InputError(
            f"cannot make the store {path}: its folder may not be written; name another --store"
        )
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"cannot write the store {path}: it is read-only")


def _read_meta(path: Path) -> dict[str, str]:
    """Return what a store says of itself; nothing for a file that is not there yet or is blank."""
    if not path.exists() or path.stat().st_size == 0:
        return {}
    try:
        place = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(place, uri=True, timeout=BUSY_SECONDS)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
            if not tables:  # the disk was full, or the process was killed, as it was made
                return {}
            if "meta" in tables:
                return dict(connection.execute("SELECT key, value FROM meta"))
    except sqlite3.Error as error:
        raise InputError(
            f"{path} must be the store of a study, but is not: {error}; name another --store"
        ) from error
    raise InputError(
        f"{path} must be the store of a study, not another SQLite file; name another --store"
    )


def _check(path: Path, definition: Definition) -> None:
    """Refuse a store that these results must not be added to."""
    meta = _read_meta(path)
    if not meta:
        return
    if meta.get("format") != FORMAT:
        raise InputError(
            f"the store {path} has format {meta.get('format')}, not {FORMAT}, of another version "
            "of sparsight; name another --store"
        )
    if meta["study"] != definition.digest:
        raise InputError(
            f"the store {path} holds another study ({_difference(meta, definition)}); "
            "name another --store"
        )
    if meta["code_version"] != code_version():
        raise InputError(
            f"the store {path} was filled by sparsight {meta['code_version']}, this is "
            f"{code_version()}, whose results may differ; name another --store"
        )


def _difference(meta: dict[str, str], definition: Definition) -> str:
    theirs, ours = (json.loads(text) for text in (meta["definition"], definition.as_json()))
    names = [name for name in ours if name != "name" and theirs.get(name) != ours[name]]
    return f"it differs in {', '.join(names)}"


def _connect(path: Path | None) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            ":memory:" if path is None else path, timeout=BUSY_SECONDS, isolation_level=None
        )
        if path is not None:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error as error:
        raise _refused(path, error) from error
    return connection


def _refused(path: Path | None, error: sqlite3.Error) -> InputError:
    return InputError(
        f"cannot write the store {path}: {error}; finished points are kept, and the same command "
        "goes on where it stopped"
    )


def _lock(lock_path: Path, path: Path) -> Any:
    """Hold a lock for as long as this process lives."""
    import fcntl

    try:
        file = open(lock_path, "w")  # noqa: SIM115 - held open on purpose
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InputError(f"cannot write beside the store {path}: {error.strerror}") from error
    return file


def _is_locked(lock_path: Path) -> bool:
    """Return whether a living process holds the lock."""
    import fcntl

    try:
        with open(lock_path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
