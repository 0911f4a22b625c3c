"""Requests drawn or read: lengths, arrivals, and what is wrong with a trace."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.serving import Request, poisson_requests, read_arrivals
from workloads import InputError

HEADER = "arrival_s,input_tokens,output_tokens\n"


def draw(seed: int, **changes) -> tuple[Request, ...]:
    options = {"rate_per_s": 20.0, "count": 4000} | changes
    return poisson_requests("sharegpt", generator=np.random.default_rng(seed), **options)


def test_poisson_arrivals_have_the_rate_and_the_spread_of_independent_ones() -> None:
    gaps = np.diff([0.0, *(request.arrival_s for request in draw(1))])
    # an exponential's deviation equals its mean; 4000 of them agree within five standard errors
    assert gaps.mean() == pytest.approx(1 / 20, rel=5 / np.sqrt(4000))
    assert gaps.std() == pytest.approx(1 / 20, rel=0.15)
    assert (gaps >= 0).all()


def test_a_seed_gives_the_same_requests_and_another_one_others() -> None:
    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rate_per_s": 0.0}, "rate must be a positive number of requests/s, not 0.0"),
        ({"rate_per_s": float("nan")}, "rate must be a positive number of requests/s, not nan"),
        ({"count": 0}, "count must be at least 1 request, not 0"),
    ],
)
def test_wrong_draws_are_refused(changes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        draw(0, **changes)


times = st.floats(0, 1e6, allow_nan=False)


@given(st.lists(st.tuples(times, st.integers(1, 9999), st.integers(1, 9999)), min_size=1))
def test_a_trace_is_read_as_it_was_written(tmp_path_factory, rows) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    path = tmp_path_factory.mktemp("traces") / "trace.csv"
    path.write_text(HEADER + "".join(f"{a!r},{i},{o}\n" for a, i, o in rows))
    found = [(r.arrival_s, r.input_tokens, r.output_tokens) for r in read_arrivals(path)]
    assert found == rows


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "line 1: the header must be arrival_s,input_tokens,output_tokens, not nothing"),
        ("seq_len,ch_idx\n1,2\n", "line 1: the header must be .*, not seq_len,ch_idx"),
        (HEADER, "line 2: there must be at least one request after the header"),
        (HEADER + "0,1\n", "line 2: there must be three values, .*, not 2"),
        (HEADER + "0,1,1\n0,x,1\n", "line 3: arrival_s must be a number and tokens whole numbers"),
        (HEADER + "0,1.5,1\n", "line 2: arrival_s must be a number and tokens whole numbers"),
        (HEADER + "0,1_0,1\n", "line 2: arrival_s must be a number and tokens whole numbers"),
        (HEADER + "1_0,1,1\n", "line 2: arrival_s must be a number and tokens whole numbers"),
        (HEADER + "-1,1,1\n", "line 2: arrival_s must be a number from 0 to 1e\\+09, not -1.0"),
        (HEADER + "nan,1,1\n", "line 2: arrival_s must be a number from 0 to 1e\\+09, not nan"),
        (HEADER + "inf,1,1\n", "line 2: arrival_s must be a number from 0 to 1e\\+09, not inf"),
        (HEADER + "1e300,1,1\n", "line 2: arrival_s must be a number from 0 to 1e\\+09, not 1e"),
        (HEADER + "0,-3,1\n", "line 2: input_tokens must be at least 1, not -3"),
        (HEADER + "0,3,0\n", "line 2: output_tokens must be at least 1, not 0"),
        (HEADER + "2,3,1\n\n1,3,1\n", "line 4: arrival_s must not be less than .* 2.0, not 1.0"),
    ],
)
def test_a_bad_trace_gives_one_sentence_with_its_line(
    tmp_path: Path, text: str, sentence: str
) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence) as caught:
        read_arrivals(path)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    (tmp_path / "marked.csv").write_text(HEADER + "0.5,3,4\n", encoding="utf-8-sig")
    (request,) = read_arrivals(tmp_path / "marked.csv")
    assert (request.arrival_s, request.input_tokens, request.output_tokens) == (0.5, 3, 4)


def test_a_trace_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*: No such file"):
        read_arrivals(tmp_path / "missing.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="must be UTF-8 text: byte"):
        read_arrivals(tmp_path / "binary.csv")
