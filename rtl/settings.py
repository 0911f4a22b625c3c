"""Names and values that users give as text, and what is said of wrong ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from workloads import numerals
from workloads.errors import InputError, nearest


def split(texts: Iterable[str], *, given: Collection[str] = ()) -> dict[str, str]:
    """Split field=value texts; raise `InputError` for a field that is given twice."""
    values: dict[str, str] = {}
    for text in texts:
        field, equals, value = text.partition("=")
        field = field.strip()
        if not equals or not field:
            raise InputError(f"--set must be field=value, not {text!r}")
        if field in values or field in given:
            raise InputError(f"{field} is given twice; give it once")
        values[field] = value.strip()
    return values


def whole_number(name: str, text: str) -> int:
    """Return the value of the field `name`; raise `InputError` for any other text."""
    try:
        return numerals.whole(text)
    except ValueError:
        raise InputError(f"{name} must be a whole number, not {text!r}") from None


def check_fields(design: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raise `InputError` unless all `names` are parameters of the design."""
    for name in names:
        if name not in known:
            hint = nearest(name, known, f"it has {', '.join(known)}")
            raise InputError(f"design {design} has no parameter {name!r}; {hint}")


def no_design(name: str, known: Collection[str]) -> InputError:
    """Return the error of a design that there is not."""
    hint = nearest(name, known, "sparsight rtl list shows them")
    return InputError(f"no design is called {name!r}; {hint}")
