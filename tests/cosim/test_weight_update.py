"""The weight update engine equals fp32 SGD in numpy, element by element and beat by beat."""

from __future__ import annotations

import numpy as np
import pytest

from rtl.sat.wuve import STEP_CYCLES, Wuve
from tests.cosim.sat_update import Sgd
from tests.cosim.units import Unit

LANES = 2
PLAIN, DECAYING = Sgd(), Sgd(decay=np.float32(0.01))


def wuve(level: str, directory) -> Unit:
    return Unit(
        make=lambda: Wuve(lanes=LANES), top="wuve", key=str(LANES), level=level, directory=directory
    )


def update(unit: Unit, sgd: Sgd, states: np.ndarray, *, stall: float):
    """Send states (count, lanes, 3); return cycles and updated words (count, lanes, 80 bits)."""
    beats = [
        int.from_bytes(np.ascontiguousarray(state).astype("<f4").tobytes(), "little")
        for state in states
    ]
    settings = {name: getattr(sgd, name) for name in ("rate", "momentum", "decay")}
    constants = {name: int(value.view(np.uint32)) for name, value in settings.items()}
    constants["decays"] = int(sgd.decays)
    taken = unit.stream(
        beats,
        source="states",
        sink="updates",
        wanted=len(beats),
        constants=constants,
        stall=stall,
        seed=3,
    )
    lanes = [
        [(beat >> (80 * lane)) & ((1 << 80) - 1) for lane in range(LANES)] for _, beat in taken
    ]
    return [cycle for cycle, _ in taken], lanes


@pytest.mark.parametrize("stall", [0.0, 0.4], ids=["flowing", "stalled"])
@pytest.mark.parametrize("sgd", [PLAIN, DECAYING], ids=["plain", "decaying"])
@pytest.mark.parametrize("level", ["amaranth", "icarus"])
def test_updates_equal_numpy(level, sgd, stall, request, tmp_path) -> None:
    if level == "icarus":
        request.getfixturevalue("icarus")
    rng = np.random.default_rng(1)
    count = 12 if level == "amaranth" else 60
    states = rng.standard_normal((count, LANES, 3)).astype(np.float32)
    cycles, lanes = update(wuve(level, tmp_path), sgd, states, stall=stall)
    weight, momentum = sgd.step(*np.moveaxis(states, -1, 0))
    half = weight.astype(np.float16).view(np.uint16)
    for beat, row in enumerate(lanes):
        for lane, word in enumerate(row):
            assert word & 0xFFFFFFFF == weight[beat, lane].view(np.uint32)
            assert word >> 32 & 0xFFFFFFFF == momentum[beat, lane].view(np.uint32)
            assert word >> 64 == half[beat, lane]
    if level == "amaranth" and not stall:
        first = STEP_CYCLES * sgd.lane_operations
        assert cycles == [first + sgd.lane_operations * beat for beat in range(count)]
