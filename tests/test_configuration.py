from dataclasses import dataclass
from typing import Literal

import pytest

from simulator import accelerators
from simulator.configuration import override, parse_settings
from workloads import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    rows: int = 32
    clock_hz: float = 2e8
    overlap: bool = True
    dataflow: Literal["os", "ws"] = "os"


def test_text_becomes_the_type_of_the_field() -> None:
    changed = override(
        Config(), {"rows": "64", "clock_hz": "1e9", "overlap": "off", "dataflow": "ws"}
    )
    assert changed == Config(rows=64, clock_hz=1e9, overlap=False, dataflow="ws")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"row": "64"}, "has no field 'row'; did you mean rows?"),
        ({"zzz": "64"}, "has no field 'zzz'; it has rows, clock_hz, overlap, dataflow"),
        ({"rows": "many"}, "rows must be a whole number, not 'many'"),
        ({"clock_hz": "fast"}, "clock_hz must be a number, not 'fast'"),
        ({"overlap": "maybe"}, "overlap must be true or false, not 'maybe'"),
        ({"dataflow": "is"}, "dataflow must be one of os, ws, not 'is'"),
    ],
)
def test_wrong_settings_say_what_would_be_right(values: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        override(Config(), values)


@pytest.mark.parametrize("name", ["sat", "systolic"])
def test_an_unknown_field_is_refused_in_the_accelerators_name(name: str) -> None:
    with pytest.raises(InputError, match=f"^{name} has no field 'rowz'; did you mean rows"):
        override(accelerators.find(name).Config(), {"rowz": "1"})


@pytest.mark.parametrize("text", ["rows", "=3", ""])
def test_settings_have_an_equals_sign(text: str) -> None:
    with pytest.raises(InputError, match="--set must be field=value"):
        parse_settings([text])
