"""Commands that refuse an option given twice, where only the last counts, and an empty path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from workloads.errors import InputError


class Once(TyperCommand):
    """A command each of whose options may be given once, but for those that collect values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse a repeated option, then parse as usual."""
        parsed, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in given:
            single = parameter.param_type_name == "option" and not parameter.multiple
            if single and given.count(parameter) > 1:
                raise InputError(f"{parameter.opts[0]} is given twice; give it once")
            described = getattr(parameter, "type_descriptor", None)
            is_path = getattr(described, "annotation", None) is Path
            if is_path and parsed.get(parameter.name) == "":
                raise InputError(f"{parameter.opts[0]} must name a file or folder, not ''")
        return super().parse_args(ctx, args)
