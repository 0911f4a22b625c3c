"""Forms of a parameter: lists, ranges, conditions, and what is refused."""

import re

import numpy as np
import pytest

from simulator.sweep.parameters import read
from workloads import InputError


def levels(form, kind=int):
    return read("rows", form, kind, kind(), "space.rows").levels.tolist()


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (32, [32]),
        ([16, 8], [16, 8]),
        (np.array([4, 2]), [4, 2]),
        ({"values": [1, 2]}, [1, 2]),
        ({"from": 8, "to": 20, "step": 4}, [8, 12, 16, 20]),
        ({"from": 8, "to": 19, "step": 4}, [8, 12, 16]),
        ({"from": 1, "to": 3}, [1, 2, 3]),
        ({"from": 1024, "to": 8192, "factor": 2}, [1024, 2048, 4096, 8192]),
        ({"from": 1, "to": 1000, "factor": 10}, [1, 10, 100, 1000]),
        ({"from": 1, "to": 10, "count": 4}, [1, 4, 7, 10]),
        ({"from": 1, "to": 8, "count": 4, "log": True}, [1, 2, 4, 8]),
        ({"from": 1, "to": 4, "count": 9, "log": True}, [1, 2, 3, 4]),
        ({"from": 1.0, "to": 2e0}, [1, 2]),
    ],
)
def test_whole_numbers(form, expected) -> None:
    assert levels(form) == expected


def test_numbers_between_two_ends() -> None:
    plain = read("f", {"from": 1.0, "to": 9.0}, float, 1.0, "space.f")
    assert plain.continuous
    assert plain.values(np.array([0.0, 0.5])).tolist() == [1.0, 5.0]
    by_ratio = read("f", {"from": 1.0, "to": 100.0, "log": True}, float, 1.0, "space.f")
    assert by_ratio.values(np.array([0.0, 0.5])) == pytest.approx([1.0, 10.0])


def test_a_condition_keeps_its_default_elsewhere() -> None:
    found = read("i", {"values": [1, 2], "when": "rows > 8"}, int, 7, "space.i")
    assert found.otherwise == 7
    assert found.when is not None
    assert found.when.text == "rows > 8"


@pytest.mark.parametrize(
    ("form", "kind", "message"),
    [
        ([], int, "space.rows must list at least one value, not an empty list"),
        ([1, 1], int, "space.rows must list each value once, not [1, 1]"),
        (["a"], int, "space.rows must hold whole numbers, not 'a'"),
        ([True], int, "space.rows must hold whole numbers, not True"),
        ([1.5], int, "space.rows must hold whole numbers, not 1.5"),
        ([10**19], int, "space.rows must hold whole numbers of at most 4611686018427387904, not"),
        ([10**400], float, "space.rows must hold numbers of at most 1.7976931348623157e+308, not"),
        ([float("nan")], float, "space.rows must hold numbers of at most"),
        (
            {"from": 1, "to": 10**400},
            float,
            "space.rows.to must be from -1.79769e+308 to",
        ),
        ([1], bool, "space.rows must hold true or false, not 1"),
        ([1], str, "space.rows must hold texts, not 1"),
        ({"from": 1}, int, "it lacks 'to'"),
        ({"from": 8, "to": 8}, int, "space.rows must rise, not go from 8 to 8"),
        ({"from": 1, "to": 8, "step": 0}, int, "space.rows.step must be above 0, not 0"),
        ({"from": 1, "to": 8, "factor": 1}, int, "space.rows.factor must be above 1, not 1"),
        ({"from": 0, "to": 8, "factor": 2}, int, "space.rows.from must be above 0 for a log"),
        ({"from": 1, "to": 8, "count": 1}, int, "count must be a whole number from 2 to 1000000"),
        ({"from": 1, "to": 8, "step": 1, "count": 3}, int, "must have one of step, factor and"),
        ({"from": 1, "to": 8, "log": True}, int, "must have a count or a factor beside log"),
        ({"from": 1, "to": 8, "log": 1}, int, "space.rows.log must be true or false, not 1"),
        ({"from": "a", "to": 8}, int, "space.rows.from must be a number, not 'a'"),
        ({"from": 1, "to": float("nan")}, float, "space.rows.to must be a number, not nan"),
        ({"from": 1, "to": 10**9}, int, "has 1000000000 values; use a larger step"),
        ({"from": 1, "to": 1e9, "factor": 1.00001}, float, "has 2072338 values; use a larger step"),
        ({"from": 1.5, "to": 4}, int, "space.rows.from must be a whole number, not 1.5"),
        (
            {"from": 1, "to": 1e30, "factor": 10},
            int,
            "space.rows.to must be from -4.61169e+18 to",
        ),
        (
            {"from": 0, "to": 1, "step": 10**20},
            int,
            "space.rows.step must be from -4.61169e+18",
        ),
        ({"from": 1, "to": 2}, str, "must be a list of values, as the field is not a number"),
        ({"from": 1, "to": 2, "stpe": 1}, int, "space.rows has an unknown key 'stpe'"),
        ({"values": [1], "to": 2}, int, "space.rows has an unknown key 'to'"),
        ({"values": [1], "otherwise": 2}, int, "space.rows.otherwise is only read beside 'when'"),
        ({"values": [1], "when": "1 +"}, int, "space.rows.when must be an expression"),
        ({"derive": "rows", "when": "1"}, int, "space.rows has an unknown key 'when'"),
    ],
)
def test_wrong_forms_say_where_and_what_would_be_right(form, kind, message) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        read("rows", form, kind, kind(), "space.rows")
