"""Grids and samples: every design once, whatever the size of the blocks."""

import itertools

import numpy as np
import pytest

from simulator.sweep.sampling import MOST_POINTS, samples
from simulator.sweep.study_file import from_values
from workloads import InputError

SPACE = {"rows": [8, 16, 32], "cols": [8, 16], "stationarity": ["os", "ws"]}


def study(**changes):
    return from_values({"version": 1, "networks": ["resnet9"], "space": SPACE, **changes})


def designs(definition, size: int) -> list[tuple]:
    (sample,) = samples(definition, {"sat": size})
    found = []
    for number in range(sample.blocks):
        block = sample.block(number)
        columns = [block.numbers, block.methods, *block.fields.values()]
        found += list(zip(*(column.tolist() for column in columns), strict=True))
    return found


@pytest.mark.parametrize("size", [1, 5, 4096])
def test_a_grid_is_the_product_of_its_lists(size) -> None:
    methods = ["dense", "bdwp:2:8"]
    expected = itertools.product(methods, *SPACE.values())
    found = designs(study(methods=methods), size)
    assert [row[1:] for row in found] == list(expected)
    assert [row[0] for row in found] == list(range(24))


def test_a_table_of_designs_counts_its_rows_and_not_the_product_of_its_columns() -> None:
    sides = list(range(1, 501))
    columns = {"rows": sides, "cols": sides[::-1], "clock_hz": [1e8 + side for side in sides]}
    assert len(sides) ** len(columns) > MOST_POINTS
    found = designs(study(space={}, designs=columns), 64)
    assert [row[2:] for row in found] == list(zip(*columns.values(), strict=True))


def test_constraints_leave_numbers_as_they_are() -> None:
    whole = designs(study(), 4096)
    found = designs(study(constraints=["rows * cols <= 256", "stationarity == 'os'"]), 4)
    assert found == [r for r in whole if r[2] * r[3] <= 256 and r[4] == "os"]


def test_a_conditional_field_is_swept_only_where_its_condition_holds() -> None:
    space = {**SPACE, "interleave": {"values": [1, 2], "when": "stationarity == 'os'"}}
    found = {(row[4], row[5]) for row in designs(study(space=space), 7)}
    assert found == {("os", 1), ("os", 2), ("ws", 4)}
    assert len(designs(study(space=space), 7)) == 6 * 3


def test_a_derived_field_follows() -> None:
    space = {"rows": [8, 16], "cols": {"derive": "rows * 2"}, "clock_hz": {"derive": "1e6 * cols"}}
    assert [row[2:] for row in designs(study(space=space), 9)] == [(8, 16, 16e6), (16, 32, 32e6)]


def test_expressions_may_read_the_method() -> None:
    methods = ["dense", "bdwp:1:8", "bdwp:2:16"]
    found = designs(study(methods=methods, constraints=["method_m / method_n == 8"]), 100)
    assert {row[1] for row in found} == {"bdwp:1:8", "bdwp:2:16"}


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_a_sample_has_different_allowed_designs_whatever_the_blocks(kind) -> None:
    space = {"rows": {"from": 1, "to": 64}, "clock_hz": {"from": 1e8, "to": 1e9}}
    search = {"kind": kind, "points": 300, "seed": 3}
    made = study(space=space, search=search, constraints=["rows % 2 == 0"])
    found = designs(made, 4096)
    assert found == designs(made, 7)
    assert len({row[2:] for row in found}) == 300
    assert all(row[2] % 2 == 0 for row in found)
    other = study(space=space, search={**search, "seed": 4}, constraints=["rows % 2 == 0"])
    assert designs(other, 4096) != found


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_a_sample_larger_than_its_space_is_the_whole_space(kind) -> None:
    found = designs(study(search={"kind": kind, "points": 1000}), 4096)
    assert sorted(row[2:] for row in found) == sorted(itertools.product(*SPACE.values()))


def test_sobol_points_are_spread_evenly() -> None:
    search = {"kind": "sobol", "points": 256}
    made = study(
        space={"rows": {"from": 1, "to": 256}, "cols": {"from": 1, "to": 256}}, search=search
    )
    cells = {((row[2] - 1) // 64, (row[3] - 1) // 64) for row in designs(made, 4096)}
    assert len(cells) == 16
    counts = np.bincount([(row[2] - 1) // 64 for row in designs(made, 4096)])
    assert (counts == 64).all()


def test_an_empty_space_names_the_constraint_at_fault() -> None:
    with pytest.raises(InputError, match="the constraint 'rows > 32' excludes every design of sat"):
        samples(study(constraints=["cols < 16", "rows > 32"]), {"sat": 10})
    both = study(constraints=["rows > 16", "rows < 32"])
    with pytest.raises(InputError, match="exclude every design together: rows > 16 and rows < 32"):
        samples(both, {"sat": 10})


def test_a_grid_needs_levels() -> None:
    made = study(space={"clock_hz": {"from": 1e8, "to": 1e9}})
    with pytest.raises(InputError, match=r"space.clock_hz must have a step, factor or count for a"):
        samples(made, {"sat": 10})
