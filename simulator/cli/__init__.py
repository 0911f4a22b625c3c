"""The `sparsight` command: human tables by default, one JSON object with `--json`.

Exit codes: 0 done, 1 a check missed (`reproduce`) or too many points failed (`sweep`), 2 the input
is wrong, 130 interrupted. Only this package prints. Each command is a module of this package; heavy
libraries are imported inside the functions that need them, so that `sparsight --help` stays fast.
"""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from workloads.errors import InputError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Without `arguments`, those of the process, an interrupted process ends here.
    """
    _prepare_output()
    try:
        with _ended_as_by_ctrl_c():
            code = _run(list(sys.argv[1:] if arguments is None else arguments) or ["--help"])
    except KeyboardInterrupt:
        code = _interrupted()
    if code == INTERRUPTED and arguments is None:
        _end(code)
    return code


def _end(code: int) -> None:
    """End the process without clearing up: a library may be half-way through its own start."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """Let whoever asks this process to end, such as a batch system, have it end as by Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _prepare_output() -> None:
    """Let a missing or a narrow-minded standard output take any text: µ becomes u, the rest ?.

    Python has no `sys.stdout` if it was closed; an encoding such as ASCII has no µ.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (lives as long as the process)
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error("sparsight", _plain)
        sys.stdout.reconfigure(errors="sparsight")


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for characters that an encoding has not, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return lost.replace("µ", "u").encode("ascii", "replace").decode(), error.end


def _run(given: Sequence[str]) -> int:
    from typer import Abort, TyperException

    from simulator.cli.app import app

    try:
        code = app(given, prog_name="sparsight", standalone_mode=False)
        sys.stdout.flush()
    except InputError as error:
        return _refuse(str(error))
    except TyperException as error:
        said = " ".join(error.format_message().split())
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "sparsight"
        return _refuse(f"{said} ({command} --help says more)")
    except MemoryError:
        return _refuse("this does not fit into memory; choose a smaller workload")
    except Abort:
        return _interrupted()
    except ImportError as error:
        if not _is_interrupt(error):
            raise
        return _interrupted()
    except (BrokenPipeError, SystemExit):
        # The reader of a pipe, such as head, has seen enough; typer turns that into SystemExit(1).
        _discard_output()
        return 0
    except OSError as error:
        _discard_output()
        return _refuse(f"cannot write the output: {error.strerror or error}")
    return _interrupted() if code == INTERRUPTED else code or 0


def _is_interrupt(error: BaseException | None) -> bool:
    """Say whether Ctrl-C is behind an error, that of a library which it stopped at its start."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _refuse(sentence: str) -> int:
    print(f"sparsight: {sentence}", file=sys.stderr)
    return 2


def _interrupted() -> int:
    print("sparsight: interrupted; no file was left half-written", file=sys.stderr)
    return INTERRUPTED


def _discard_output() -> None:
    """Point standard output at nothing, so that the interpreter's last flush cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
