"""Expressions: arithmetic on columns, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.sweep.expressions import check_names, parse
from workloads import InputError

COLUMNS = {"rows": np.array([8, 32]), "cols": np.array([4, 4]), "mode": np.array(["os", "ws"])}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rows * cols + 1", [33, 129]),
        ("rows / 3", [8 / 3, 32 / 3]),
        ("rows // 3 - -rows % 5", [2 - 2, 10 - 3]),
        ("4 < rows <= 8", [True, False]),
        ("rows == 8 or mode == 'ws'", [True, True]),
        ("rows == 8 and not mode == 'ws'", [True, False]),
        ("max(rows, 16, cols)", [16, 32]),
        ("min(rows, 16)", [8, 16]),
        ("rows if mode == 'os' else 0", [8, 0]),
        ("log2(rows) + sqrt(cols)", [5.0, 7.0]),
        ("ceil(rows / 5) * floor(cols / 3) + abs(-1)", [3, 8]),
        ("2 * KIB", 2048),
        ("rows ** 2 <= MIB", [True, True]),
    ],
)
def test_expressions_mean_what_python_means(text, expected) -> None:
    assert np.array_equal(parse(text, "here")(COLUMNS), expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rows +",
        "rows; cols",
        "__import__('os')",
        "rows.size",
        "rows[0]",
        "[rows]",
        "lambda: 1",
        "rows := 3",
        "max(rows, key=cols)",
        "sqrt(rows, cols)",
        "sqrt()",
        "eval('1')",
        "rows @ cols",
        "rows in (1, 2)",
        "f'{rows}'",
        "None",
        "1j",
        "(" * 500 + "1" + ")" * 500,
    ],
)
def test_everything_else_is_refused_where_it_stands(text) -> None:
    with pytest.raises(InputError, match=r"constraints.1. must be an expression of names"):
        parse(text, "constraints[1]")


@pytest.mark.parametrize(
    "text",
    ["rows + mode", "rows < 'a'", "'a' * 9999999999", "'%0999d' % 1", "-mode", "log2(mode)"],
)
def test_texts_are_compared_and_nothing_else(text) -> None:
    with pytest.raises(InputError, match="must compute with numbers, and compare texts with texts"):
        parse(text, "here")(COLUMNS)


def test_what_must_be_a_number_is_no_text_and_fits_64_bits() -> None:
    with pytest.raises(InputError, match="'mode' must give a number for every design"):
        parse("mode", "here").numbers(COLUMNS, 2)
    with pytest.raises(InputError, match="has a number of more than 64 bits"):
        parse("rows * 99999999999999999999", "here").numbers(COLUMNS, 2)
    assert parse("8", "here").numbers(COLUMNS, 2).tolist() == [8, 8]


def test_a_number_is_no_expression() -> None:
    with pytest.raises(InputError, match="here must be an expression such as 'rows \\* cols'"):
        parse(3, "here")  # type: ignore[arg-type]


def test_unknown_names_are_named_with_a_guess() -> None:
    with pytest.raises(InputError, match="x reads 'row', which is not known here; did you mean ro"):
        check_names(parse("row + 1", "x"), COLUMNS, "x")
    with pytest.raises(InputError, match=r"x reads 'zz', .* known are rows, cols, mode"):
        check_names(parse("zz", "x"), COLUMNS, "x")


@given(st.text(max_size=30))
def test_no_text_does_anything_but_be_read_or_refused(text) -> None:
    try:
        found = parse(text, "here")
    except InputError:
        return
    assert isinstance(found.names, frozenset)


def test_an_expression_that_python_warns_of_is_read_in_silence() -> None:
    """`1if` is a number and a word without a space between; warnings are errors in tests."""
    assert parse("1if rows else 2", "constraints")({"rows": 3}) == 1
