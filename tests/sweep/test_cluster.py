"""A real Dask scheduler and two real worker processes on loopback, one of which is killed."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from simulator.sweep import Study, execute, progress
from workloads import InputError

ROOT = Path(__file__).parents[2]
SPACE = {"rows": {"from": 1, "to": 60}}


def start(folder: Path, kind: str, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard"]
    return subprocess.Popen(
        [*command, "--scheduler-file", str(folder / "scheduler.json"), *arguments],
        cwd=ROOT,
        env={**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "30s"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """Yield the address of a scheduler and its two workers."""
    started = [start(folder, "scheduler", "--host", "127.0.0.1", "--port", "0")]
    try:
        ends = time.monotonic() + 60
        while not (folder / "scheduler.json").exists():
            assert time.monotonic() < ends
            time.sleep(0.05)
        address = json.loads((folder / "scheduler.json").read_text())["address"]
        for _ in range(2):
            options = ("--nthreads", "1", "--no-nanny", "--host", "127.0.0.1")
            started.append(start(folder, "worker", *options, "--local-directory", str(folder)))
        wait_for_workers(address, 2)
        yield address, started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()


def wait_for_workers(address: str, count: int) -> None:
    from distributed import Client

    with Client(address, timeout=30, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=60)


def test_two_workers_one_killed_give_the_same_table(tmp_path: Path) -> None:
    study = Study(networks=["resnet9"], accelerators=["systolic"], space=SPACE)
    expected = study.run(workers=1)
    with cluster(tmp_path) as (address, workers):

        class KillsAWorker(progress.Silent):
            points = 0

            def finished(self, points: int, failures: int) -> None:
                self.points += points
                if self.points == 10:
                    workers[0].kill()

        study.watcher = KillsAWorker()
        store = tmp_path / "s.sqlite"
        pd.testing.assert_frame_equal(study.run(cluster=address, store=store), expected)
        assert workers[0].wait(10) < 0
        assert workers[1].poll() is None
        fast = Study(networks=["resnet9"], space=SPACE, methods=["dense", "bdwp:2:8"])
        pd.testing.assert_frame_equal(fast.run(cluster=address), fast.run(workers=1))


def test_a_cluster_that_does_not_answer_is_one_sentence(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(execute, "CLUSTER_SECONDS", 0.5)
    study = Study(networks=["resnet9"])
    for address, message in (
        ("tcp://127.0.0.1:9", "no Dask scheduler answers at 'tcp://127.0.0.1:9'"),
        ("nonsense://there", "must be the address of a Dask scheduler, such as tcp://"),
    ):
        with pytest.raises(InputError, match=message):
            study.run(cluster=address, store=tmp_path / "s.sqlite")
    assert not list(tmp_path.iterdir())
