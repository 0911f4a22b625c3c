"""Areas follow from counts of units and bytes."""

from dataclasses import replace

import pytest

from simulator import area
from simulator.accelerators import sat, systolic, tensorcore


def sat_mm2(config: sat.Config) -> float:
    return area.area_mm2(config, sat.QUANTITIES["area_mm2"])


@pytest.mark.parametrize(
    ("bits", "unit"),
    [
        (8, area.INT8_MULTIPLIER_UM2 + area.INT32_ADDER_UM2),
        (16, area.FP16_MULTIPLIER_UM2 + area.FP32_ADDER_UM2),
        (32, area.FP32_MULTIPLIER_UM2 + area.FP32_ADDER_UM2),
    ],
)
def test_a_row_of_pes_costs_its_units(bits: int, unit: int) -> None:
    config = sat.Config(value_bits=bits)
    wider = replace(config, rows=config.rows + 1)
    assert sat_mm2(wider) - sat_mm2(config) == pytest.approx(config.cols * unit * 1e-6)


def test_a_buffer_costs_its_bits() -> None:
    config = sat.Config()
    larger = replace(config, left_buffer_bytes=config.left_buffer_bytes + (1 << 20))
    cells = (1 << 20) * 8 * 0.37 / 0.7
    assert sat_mm2(larger) - sat_mm2(config) == pytest.approx(cells * 1e-6, rel=1e-4)


def test_sat_and_the_plain_array_of_its_size_have_the_same_units() -> None:
    plain = area.area_mm2(systolic.Config(), systolic.QUANTITIES["area_mm2"])
    assert plain == pytest.approx(sat_mm2(sat.Config()))


def test_tensor_cores_are_fp16_units_with_fp32_sums() -> None:
    text = tensorcore.QUANTITIES["area_mm2"]
    one, two = (area.area_mm2(tensorcore.Config(tensor_cores=n), text) for n in (4, 5))
    unit = area.FP16_MULTIPLIER_UM2 + area.FP32_ADDER_UM2
    assert two - one == pytest.approx(256 * unit * 1e-6)
