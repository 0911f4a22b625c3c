"""Where tasks run: in this process, in a pool of processes, on a Dask cluster, or where you say.

Everything is a `concurrent.futures.Executor`, so that the study does not know the difference.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from workloads.errors import InputError

CLUSTER_SECONDS = 10


class InProcess(Executor):
    """Run every task at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function and return its result as a future that is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # handed to whoever asks for the result
            future.set_exception(error)
        return future


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def executor(workers: int = 1, cluster: str | None = None) -> Iterator[tuple[Executor, int]]:
    """Yield an executor and the number of tasks that it runs at once.

    `workers` processes of this machine (1: no other process), or the Dask scheduler at `cluster`.
    Raises `InputError` if it does not answer.
    """
    if cluster is not None:
        with _cluster(cluster) as made:
            yield made
        return
    if workers < 1:
        raise InputError(f"workers must be at least 1, not {workers}")
    if workers == 1:
        yield InProcess(), 1
        return
    from multiprocessing import get_context

    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        yield pool, workers
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the main process, and do not outlive it."""
    from multiprocessing import parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _check_address(address: str) -> None:
    """Refuse what is no address of Dask; its client would end in a traceback long after."""
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    try:
        scheme, place = parse_address(address, strict=True)
        get_backend(scheme)
        if scheme != "inproc":
            parse_host_port(place)
    except ValueError:
        raise InputError(
            f"--cluster must be the address of a Dask scheduler, such as tcp://host:8786, "
            f"not {address!r}"
        ) from None


@contextmanager
def _cluster(address: str) -> Iterator[tuple[Executor, int]]:
    try:
        import distributed
    except ImportError:
        raise InputError("--cluster needs Dask: pip install 'sparsight[cluster]'") from None
    _check_address(address)
    try:
        client: Any = distributed.Client(  # type: ignore[no-untyped-call]
            address, timeout=CLUSTER_SECONDS, set_as_default=False
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address!r} ({type(error).__name__}); "
            "start one with 'dask scheduler' and name its address, such as tcp://host:8786"
        ) from error
    try:
        threads = sum(client.nthreads().values())
        if not threads:
            raise InputError(
                f"the Dask scheduler at {address!r} has no workers; "
                f"start some with 'dask worker {address}'"
            )
        yield client.get_executor(), threads
    finally:
        client.close()
