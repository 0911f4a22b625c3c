"""`sparsight rtl`: hand over to the commands of `rtl.cli`, loaded only when they are called."""

from __future__ import annotations

from typing import Any

import typer

from simulator.cli import output
from workloads.errors import InputError

CONTEXT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def rtl(context: typer.Context) -> Any:
    """Generate Verilog of the accelerators: list, generate, measure (sparsight rtl --help)."""
    try:
        from rtl.cli import app

        _forget_unused()
        given = context.args or ["--help"]
        with output.working(f"sparsight rtl {' '.join(given[:2])}"):
            return app(given, prog_name="sparsight rtl", standalone_mode=False)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "amaranth":
            raise
        raise InputError("sparsight rtl needs Amaranth: pip install 'sparsight[rtl]'") from None


def _forget_unused() -> None:
    """Take Amaranth's warning of unused components away, which is a destructor of each of them.

    An interrupted command leaves components behind that are not worth a warning, and Python drops
    an interrupt that falls into a destructor.
    """
    from amaranth.hdl import Elaboratable  # type: ignore[import-untyped]

    for kind in Elaboratable.__mro__:
        if "__del__" in vars(kind):
            del kind.__del__
