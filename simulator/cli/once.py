"""Commands that refuse an option given twice, an empty path, and 1_0 in the place of a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from workloads import numerals
from workloads.errors import InputError


class Once(TyperCommand):
    """A command each of whose options may be given once, but for those that collect values.

    The lines of its help are joined, for the terminal to wrap.
    """

    def __init__(self, *given: Any, help: str | None = None, **named: Any) -> None:
        paragraphs = (help or "").split("\n\n")
        joined = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        super().__init__(*given, help=joined or None, **named)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse a repeated option, then parse as usual."""
        parsed, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in given:
            single = parameter.param_type_name == "option" and not parameter.multiple
            if single and given.count(parameter) > 1:
                raise InputError(f"{parameter.opts[0]} is given twice; give it once")
            described = getattr(parameter, "type_descriptor", None)
            kind = getattr(described, "annotation", None)
            _check(parameter.opts[0], parsed.get(parameter.name), kind)
        return super().parse_args(ctx, args)


def _check(option: str, value: Any, kind: Any) -> None:
    """Raise `InputError` for a text that is not of that kind, or that nobody means so."""
    if kind is Path and value == "":
        raise InputError(f"{option} must name a file or folder, not ''")
    if kind in _NUMBERS and isinstance(value, str):
        read, wanted = _NUMBERS[kind]
        try:
            read(value)
        except ValueError:
            raise InputError(f"{option} must be {wanted}, not {value!r}") from None


_NUMBERS: dict[type, tuple[Any, str]] = {
    int: (numerals.whole, "a whole number"),
    float: (numerals.number, "a number"),
}
