"""`sparsight rtl`: hand over to the commands of `rtl.cli`, loaded only when they are called."""

from __future__ import annotations

from typing import Any

import typer

from workloads.errors import InputError

CONTEXT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def rtl(context: typer.Context) -> Any:
    """Generate Verilog of the accelerators: list, generate, measure (sparsight rtl --help)."""
    try:
        from rtl.cli import app

        return app(context.args or ["--help"], prog_name="sparsight rtl", standalone_mode=False)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "amaranth":
            raise
        raise InputError("sparsight rtl needs Amaranth: pip install 'sparsight[rtl]'") from None
