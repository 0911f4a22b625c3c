"""The floating point units, emitted and compiled, equal numpy bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.cosim.floats import OUTPUTS, run_units

RANDOM_PAIRS = 10_000_000
BATCH = 2_500_000
CORNERS_32 = [
    *(0x00000000, 0x00000001, 0x00000002, 0x007FFFFF, 0x00800000, 0x00800001, 0x00FFFFFF),
    *(0x01000000, 0x33000000, 0x33800000, 0x33800001, 0x34000000, 0x387FC000, 0x387FE000),
    *(0x387FF000, 0x38800000, 0x3F7FFFFF, 0x3F800000, 0x3F800001, 0x3FC00000, 0x40000000),
    *(0x477FE000, 0x477FEFFF, 0x477FF000, 0x47800000, 0x4B800000, 0x4C000000, 0x7E800000),
    *(0x7F000000, 0x7F7FFFFE, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FBFFFFF, 0x7FC00000),
    0x7FFFFFFF,
]
CORNERS_16 = [
    *(0x0000, 0x0001, 0x0002, 0x0200, 0x03FF, 0x0400, 0x0401, 0x07FF, 0x3BFF, 0x3C00, 0x3C01),
    *(0x7800, 0x7BFE, 0x7BFF, 0x7C00, 0x7C01, 0x7DFF, 0x7E00, 0x7FFF),
]


def expected(pairs: NDArray[np.uint32]) -> dict[str, NDArray[np.uint32]]:
    """What numpy computes, with every NaN replaced by the quiet NaN that the units produce."""
    a, b = (np.ascontiguousarray(pairs[:, i]).view(np.float32) for i in (0, 1))
    half_a, half_b = (
        np.ascontiguousarray(pairs[:, i]).astype(np.uint16).view(np.float16) for i in (0, 1)
    )
    with np.errstate(all="ignore"):
        results = {
            "half_product": half_a.astype(np.float32) * half_b.astype(np.float32),
            "total": a + b,
            "product": a * b,
            "narrowed": a.astype(np.float16),
            "widened": half_a.astype(np.float32),
        }
    return {name: canonical(values) for name, values in results.items()}


def canonical(values: NDArray[np.floating]) -> NDArray[np.uint32]:
    wide = values.dtype == np.float32
    bits = values.view(np.uint32 if wide else np.uint16).astype(np.uint32)
    return np.where(np.isnan(values), np.uint32(0x7FC00000 if wide else 0x7E00), bits)


def assert_equal(pairs: NDArray[np.uint32], got: dict[str, NDArray[np.uint32]]) -> None:
    want = expected(pairs)
    wrong = [
        f"{name} of {pairs[i, 0]:08x} and {pairs[i, 1]:08x} is {got[name][i]:08x}, "
        f"not {want[name][i]:08x}"
        for name in OUTPUTS
        for i in np.flatnonzero(got[name] != want[name])[:3]
    ]
    assert not wrong, "\n".join(wrong)


def with_signs(corners: list[int], sign: int) -> list[int]:
    return [corner | flag for corner in corners for flag in (0, sign)]


def random_pairs(rng: np.random.Generator, count: int) -> NDArray[np.uint32]:
    """Half of the pairs have any bits; the others have exponents at most 30 apart, fp16's range
    for the first (so that its rounding to fp16 matters) and one in eight is nearly opposite."""
    pairs = rng.integers(0, 1 << 32, (count, 2), dtype=np.uint64).astype(np.uint32)
    close = pairs[count // 2 :]
    exponent = rng.integers(98, 145, len(close))
    other = np.clip(exponent + rng.integers(-30, 31, len(close)), 0, 254)
    for column, field in ((0, exponent), (1, other)):
        close[:, column] &= np.uint32(0x807FFFFF)
        close[:, column] |= field.astype(np.uint32) << np.uint32(23)
    opposite = close[: len(close) // 8]
    opposite[:, 1] = opposite[:, 0] ^ np.uint32(1 << 31)
    opposite[:, 1] += rng.integers(-4, 5, len(opposite)).astype(np.int64).astype(np.uint32)
    return pairs


def test_corner_cases_equal_numpy(verilator, tmp_path) -> None:
    corners = with_signs(CORNERS_32, 1 << 31)
    halves = with_signs(CORNERS_16, 1 << 15)
    pairs = np.array(
        [(a, b) for group in (corners, halves) for a in group for b in group], np.uint32
    )
    assert_equal(pairs, run_units(pairs, tmp_path))


def test_ten_million_random_pairs_equal_numpy(verilator, tmp_path) -> None:
    rng = np.random.default_rng(2309)
    for _ in range(RANDOM_PAIRS // BATCH):
        pairs = random_pairs(rng, BATCH)
        assert_equal(pairs, run_units(pairs, tmp_path))


def test_every_half_is_widened_and_every_product_with_a_corner_is_exact(
    verilator, tmp_path
) -> None:
    halves = np.arange(1 << 16, dtype=np.uint32)
    pairs = np.concatenate(
        [np.stack([halves, np.full_like(halves, corner)], 1) for corner in CORNERS_16]
    )
    assert_equal(pairs, run_units(pairs, tmp_path))


bits_32 = st.one_of(st.integers(0, (1 << 32) - 1), st.sampled_from(with_signs(CORNERS_32, 1 << 31)))


@settings(max_examples=40)
@given(stream=st.lists(st.tuples(bits_32, bits_32), min_size=1, max_size=60))
def test_hypothesis_streams_equal_numpy(stream, verilator_once, scratch) -> None:
    pairs = np.array(stream, np.uint32)
    assert_equal(pairs, run_units(pairs, scratch))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("streams")


@pytest.fixture(scope="module")
def verilator_once():
    """Hypothesis wants fixtures that outlive an example; the build is in the cache by now."""
    from tests.cosim.simulators import verilator

    return verilator()
