"""Verdicts, and what is written."""

import csv
import io
import json
from pathlib import Path

import pytest

from simulator import published, reproduce
from simulator.published import Row
from simulator.reproduce import Judged
from workloads import InputError


def row(**changes) -> Row:
    values = {
        "exhibit": "paper/table-1",
        "quantity": "speedup",
        "published": 2.0,
        "unit": "-",
        "relation": "=",
        "tolerance": 0.05,
        "source": "table 1",
        "tag": "seen",
        "note": "",
        "expected_miss": "",
    }
    return Row(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "ours", "verdict"),
    [
        ({}, 2.09, "ok"),
        ({}, 1.91, "ok"),
        ({}, 2.11, "miss"),
        ({"tolerance": 0.0}, 2.0, "ok"),
        ({"tolerance": 0.0}, 2.0000001, "miss"),
        ({"tolerance": None}, 7.0, "shown"),
        ({"tolerance": None, "tag": "measured"}, 7.0, "peer"),
        ({"tolerance": None, "tag": "recalled"}, 2.0, "recalled"),
        ({"relation": "<=", "tolerance": 0.0}, 1.0, "ok"),
        ({"relation": "<=", "tolerance": 0.0}, 2.1, "miss"),
        ({"relation": ">=", "tolerance": 0.0}, 2.1, "ok"),
        ({"relation": ">=", "tolerance": 0.0}, 1.9, "miss"),
        ({"expected_miss": "no halo"}, 3.0, "expected-miss"),
        ({"expected_miss": "no halo"}, 2.0, "miss"),
    ],
)
def test_verdicts(changes, ours: float, verdict: str) -> None:
    assert Judged(row=row(**changes), ours=ours).verdict == verdict


def test_relative_error_is_ours_over_published_minus_one() -> None:
    assert Judged(row=row(), ours=2.5).rel_error == pytest.approx(0.25)
    assert Judged(row=row(published=0.0), ours=0.5).rel_error == 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"tag": "recalled"},
        {"tag": "guessed"},
        {"source": ""},
        {"relation": "<"},
        {"tolerance": -0.1},
        {"tolerance": None, "expected_miss": "why"},
    ],
)
def test_a_row_that_claims_too_much_is_refused(changes) -> None:
    with pytest.raises(AssertionError):
        row(**changes)


def test_exhibits_are_selected_by_paper_or_by_name() -> None:
    assert published.select(None) == published.exhibits()
    assert "peers/systolic" in published.select("peers")
    with pytest.raises(InputError, match=r"did you mean peers/systolic\?"):
        published.select("peers/systolc")


def test_ours_are_written_beside_the_published_rows(tmp_path: Path) -> None:
    judged = reproduce.judge("peers/systolic")
    files = {
        path.name: content
        for path, content in reproduce.files("peers/systolic", judged, tmp_path).items()
    }
    assert files["systolic.paper.csv"] == published.path("peers/systolic").read_bytes()
    ours = list(csv.DictReader(io.StringIO(files["systolic.ours.csv"].decode())))
    assert [float(each["ours"]) for each in ours] == [each.ours for each in judged]
    meta = json.loads(files["systolic.meta.json"])
    assert meta["command"] == "sparsight reproduce peers/systolic"
    assert sum(meta["verdicts"].values()) == len(judged)


def peers(tool: str, dataflow: str) -> list[Judged]:
    found = [
        each
        for each in reproduce.judge("peers/systolic")
        if each.row.quantity.startswith(f"{tool} ") and each.row.inputs["dataflow"] == dataflow
    ]
    assert found
    return found


def shape(each: Judged) -> tuple[int, int, int]:
    m, k, n = (int(each.row.inputs[name]) for name in ("m", "k", "n"))
    return m, k, n


def test_every_scalesim_row_is_asserted_without_tolerance() -> None:
    rows = [r for r in published.read("peers/systolic") if r.quantity.startswith("scalesim")]
    assert len(rows) == 15
    assert {row.tolerance for row in rows} == {0.0}
    assert {row.inputs["dataflow"] for row in rows} == {"os", "ws", "is"}


def test_zigzag_adds_31_cycles_to_every_load_of_weights_as_its_note_says() -> None:
    for each in peers("zigzag-dse 3.9.1", "ws"):
        _, k, n = shape(each)
        loads = -(-k // 32) * -(-n // 32)
        assert each.row.published == each.ours + 31 * loads + 2


def test_stonne_adds_5_cycles_a_tile_and_saves_unused_rows_as_its_note_says() -> None:
    for each in peers("stonne", "os"):
        m, k, n = shape(each)
        tiles = [(min(32, m - i), j) for i in range(0, m, 32) for j in range(0, n, 32)]
        assert each.row.published == sum(k + 32 + 32 - 2 + 5 - (32 - used) for used, _ in tiles)


def test_accelforge_tiles_by_divisors_where_it_differs_as_its_note_says() -> None:
    (different,) = [each for each in peers("accelforge 1.0.467", "os") if each.rel_error != 0]
    m, k, n = shape(different)
    assert m % 28 == 0
    assert different.row.published == m // 28 * -(-n // 32) * k


def test_onnxim_and_zigzag_output_stationary_differ_by_less_than_a_hundredth() -> None:
    for each in (*peers("onnxim", "ws"), *peers("zigzag-dse 3.9.1", "os")):
        assert -0.01 < each.rel_error < 0
