"""The front against its definition."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simulator.sweep.pareto import frame_front, front

few = st.sampled_from([0.0, 1.0, 2.0, 3.0, float("nan")])


def naive_front(values: np.ndarray) -> list[bool]:
    def dominated(row) -> bool:
        return any((other <= row).all() and (other < row).any() for other in values)

    return [not np.isnan(row).any() and not dominated(row) for row in values]


@given(st.integers(1, 3).flatmap(lambda k: arrays(float, (12, k), elements=few)))
def test_the_front_is_what_nothing_dominates(values) -> None:
    assert front(values).tolist() == naive_front(values)


def test_no_points_have_no_front() -> None:
    assert front(np.empty((0, 2))).tolist() == []


def test_fronts_are_of_one_workload_and_of_feasible_points() -> None:
    table = pd.DataFrame(
        {
            "network": ["a", "a", "b", "a"],
            "batch": [1, 1, 1, 1],
            "x": [2.0, 1.0, 9.0, 0.0],
            "y": [1.0, 1.0, 9.0, 0.0],
            "feasible": [True, True, True, False],
        }
    )
    assert frame_front(table, {"x": 1, "y": 1}).index.tolist() == [1, 2]
    assert frame_front(table, {"x": -1}).index.tolist() == [0, 2]
