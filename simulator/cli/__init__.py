"""The `sparsight` command: human tables by default, one JSON object with `--json`.

Exit codes: 0 done, 1 a check missed (`reproduce`), 2 the input is wrong, 130 interrupted. Only this
package prints. Each command is a module of this package; heavy libraries are imported inside the
functions that need them, so that `sparsight --help` stays fast.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from workloads.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    _prepare_output()
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments) or ["--help"])
    except KeyboardInterrupt:
        return _interrupted()


def _prepare_output() -> None:
    """Let a missing or a narrow-minded standard output take any text: what it cannot hold is lost.

    Python has no `sys.stdout` if it was closed; an encoding such as ASCII has no µ.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (lives as long as the process)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


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
    except (BrokenPipeError, SystemExit):
        # The reader of a pipe, such as head, has seen enough; typer turns that into SystemExit(1).
        _discard_output()
        return 0
    except OSError as error:
        _discard_output()
        return _refuse(f"cannot write the output: {error.strerror or error}")
    return _interrupted() if code == 130 else code or 0


def _refuse(sentence: str) -> int:
    print(f"sparsight: {sentence}", file=sys.stderr)
    return 2


def _interrupted() -> int:
    print("sparsight: interrupted; no file was left half-written", file=sys.stderr)
    return 130


def _discard_output() -> None:
    """Point standard output at nothing, so that the interpreter's last flush cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
