import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow import digits
from dataflow.digits import ENCODINGS
from dataflow.digits.kernels import histogram
from dataflow.digits.statistics import position_probabilities, value_histogram
from workloads.errors import InputError

WIDTHS = (4, 6, 8, 10, 12, 14, 16)
SCHEMES = tuple(ENCODINGS)


def all_values(width: int) -> np.ndarray:
    low, high = digits.value_range(width)
    return np.arange(low, high + 1)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_value_of_every_width_survives_encoding(scheme: str, width: int) -> None:
    values = all_values(width)
    encoded = digits.encode(values, scheme, width)
    assert encoded.shape == (len(values), digits.digit_count(scheme, width))
    assert set(np.unique(encoded)) <= set(ENCODINGS[scheme].digits)
    np.testing.assert_array_equal(digits.decode(encoded, scheme), values)
    np.testing.assert_array_equal(
        digits.nonzero_counts(values, scheme, width), (encoded != 0).sum(axis=-1)
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_closed_form_mean_is_the_mean_over_all_values(scheme: str, width: int) -> None:
    counts = digits.nonzero_counts(all_values(width), scheme, width)
    assert digits.uniform_mean(scheme, width) == Fraction(int(counts.sum()), 1 << width)


@pytest.mark.parametrize("width", WIDTHS)
def test_csd_has_no_two_neighbours_and_the_fewest_digits(width: int) -> None:
    values = all_values(width)
    nonzero = digits.encode(values, "csd", width) != 0
    assert not (nonzero[:, 1:] & nonzero[:, :-1]).any()
    fewest = digits.nonzero_counts(values, "csd", width)
    for scheme in SCHEMES:
        assert (fewest <= digits.nonzero_counts(values, scheme, width)).all(), scheme


def test_ent_digits_of_a_magnitude_are_minus_one_to_two() -> None:
    values = all_values(8)
    unsigned = digits.encode(values, "ent", 8) * np.sign(values)[:, None]
    assert set(np.unique(unsigned)) == {-1, 0, 1, 2}


@pytest.mark.parametrize(
    ("scheme", "histogram"),
    [
        ("ent", (1, 15, 60, 108, 72)),
        ("booth", (1, 12, 54, 108, 81)),
        ("csd", (1, 15, 72, 120, 48)),
    ],
)
def test_int8_histograms_are_the_published_ones(scheme: str, histogram: tuple[int, ...]) -> None:
    measured = digits.digit_statistics(all_values(8), scheme, 8).histogram
    assert measured == histogram
    if scheme == "booth":  # the paper: 68.4 % of INT8 values have at most three
        assert round(100 * sum(measured[:4]) / 256, 1) == 68.4


def test_normal_matrices_have_the_published_mean_digits() -> None:
    """Which maximum a matrix draws sets its scale: the mean of ten draws, as single ones spread."""
    means = []
    for seed in range(10):
        matrix = np.random.default_rng(seed).standard_normal((1024, 1024))
        values = digits.quantise(matrix).values
        means.append([digits.digit_statistics(values, s, 8).mean for s in ("ent", "booth")])
    np.testing.assert_allclose(np.mean(means, axis=0), [2.22, 2.41], atol=0.02)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_expectations_under_a_pmf_are_sums_over_values(scheme: str) -> None:
    pmf = digits.normal_pmf(20.0, 8)
    assert math.isclose(pmf.sum(), 1.0)
    encoded = digits.encode(all_values(8), scheme, 8) != 0
    p = (pmf[:, None] * encoded).sum(axis=0)
    np.testing.assert_allclose(position_probabilities(pmf, scheme, 8), p)
    assert math.isclose(digits.mean_digits(pmf, scheme, 8), p.sum())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("share", [0.05, 0.2, 1.0])
def test_the_mean_of_a_normal_operand_is_a_sum_over_intervals(share: float, width: int) -> None:
    """A Booth digit is zero on intervals of 4^i values, every 4^(i+1) of them: erf at their ends.

    Bits 2i + 1, 2i and 2i - 1 are alike where (v + 4^i / 2) mod 4^(i+1) < 4^i; bit -1 is zero.
    """
    low, high = digits.value_range(width)
    std = share * high

    def below(v: float) -> float:
        return math.erf((v - 0.5) / (std * math.sqrt(2)))

    nonzero = 0.0
    for i in range(width // 2):
        length = 4**i
        zero = 0.0
        for start in range(low - 4 * length, high + 1):
            if (start + length // 2) % (4 * length) == 0:
                first, last = max(start, low), min(start + length, high + 1)
                zero += max(below(last) - below(first), 0.0) if last > first else 0.0
        nonzero += 1 - zero / (below(high + 1) - below(low))
    assert digits.normal_mean("booth", std, width) == pytest.approx(nonzero, rel=1e-9)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_wide_normal_has_the_uniform_mean(scheme: str, width: int) -> None:
    wide = digits.normal_mean(scheme, 1e4 * 2**width, width)
    assert wide == pytest.approx(float(digits.uniform_mean(scheme, width)), rel=1e-6)


NORMAL = {  # exact sums of another program, INT8: ent, booth, csd, twos, signmag
    10: (1.762, 1.925, 1.731, 3.931, 1.890),
    20: (2.115, 2.294, 2.063, 3.976, 2.344),
    30: (2.335, 2.530, 2.259, 3.988, 2.619),
    40: (2.490, 2.673, 2.397, 3.993, 2.815),
    50: (2.605, 2.769, 2.500, 3.996, 2.968),
}


@pytest.mark.parametrize("std", NORMAL)
def test_normal_means_are_those_of_an_independent_sum(std: int) -> None:
    schemes = ("ent", "booth", "csd", "twos", "signmag")
    means = [digits.normal_mean(scheme, std, 8) for scheme in schemes]
    np.testing.assert_allclose(means, NORMAL[std], atol=0.0011)


def test_group_steps_count_empty_groups_once() -> None:
    """Exact for independent operands: sum over all digit patterns of four operands."""
    pmf = digits.normal_pmf(3.0, 4)
    encoded = digits.encode(all_values(4), "ent", 4) != 0
    four = np.array(np.meshgrid(*[np.arange(16)] * 4)).reshape(4, -1)
    steps = np.maximum(encoded[four].sum(axis=0), 1).sum(axis=1)
    expected = (pmf[four].prod(axis=0) * steps).sum() / 4
    assert math.isclose(digits.group_steps_mean(pmf, "ent", 4), expected)


def test_a_wide_normal_is_uniform() -> None:
    np.testing.assert_allclose(digits.normal_pmf(1e6, 8), digits.uniform_pmf(8), rtol=1e-6)


@given(st.lists(st.integers(-128, 127), min_size=1))
def test_statistics_are_those_of_the_digits(values: list[int]) -> None:
    measured = digits.digit_statistics(np.array(values, np.int8), "ent", 8)
    encoded = digits.encode(values, "ent", 8) != 0
    assert measured.values == len(values)
    assert math.isclose(measured.mean, encoded.sum() / len(values))
    np.testing.assert_allclose(measured.position_share, encoded.mean(axis=0))
    assert math.isclose(measured.zero_share, values.count(0) / len(values))


def test_the_compiled_histogram_is_its_python_twin_across_chunks() -> None:
    values = np.random.default_rng(1).integers(-8, 8, 5000).astype(np.int8)
    counted = np.bincount(values.astype(np.int64) + 8, minlength=16)
    np.testing.assert_array_equal(histogram.py_func(values, 4), counted)
    many = np.tile(values, 300)  # more than one chunk
    np.testing.assert_array_equal(value_histogram(many, 4), 300 * counted)


@given(st.data())
def test_quantisation_errs_by_at_most_half_a_step(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 5))
    numbers = st.lists(st.floats(-1e3, 1e3), min_size=4 * rows, max_size=4 * rows)
    tensor = np.array(data.draw(numbers)).reshape(rows, 4)
    axis = data.draw(st.sampled_from([None, 0, 1, -1]))
    width = data.draw(st.sampled_from(WIDTHS))
    quantised = digits.quantise(tensor, width=width, channel_axis=axis)
    error = np.abs(quantised.dequantise() - tensor)
    assert (error <= quantised.scale / 2 * (1 + 1e-9)).all()
    assert np.abs(quantised.values).max() <= digits.value_range(width)[1]


def test_max_abs_uses_the_whole_range_of_every_channel() -> None:
    tensor = np.random.default_rng(2).standard_normal((7, 50)) * np.arange(1, 8)[:, None]
    values = digits.quantise(tensor, channel_axis=0).values
    np.testing.assert_array_equal(np.abs(values).max(axis=1), np.full(7, 127))
    assert (np.abs(digits.quantise(tensor).values).max(axis=1) == 127).sum() == 1


def test_a_percentile_clips_the_largest() -> None:
    tensor = np.arange(1, 101) / 100.0
    values = digits.quantise(tensor, percentile=50).values
    limit = 50.5 / 100  # the median of 1 to 100 hundredths
    assert (values == 127).sum() == (tensor >= limit).sum()


def test_an_outlier_channel_thins_the_digits_of_the_others() -> None:
    tensor = np.random.default_rng(3).standard_normal((64, 256))
    tensor[0] *= 30
    per_tensor = digits.digit_statistics(digits.quantise(tensor).values, "booth", 8).mean
    per_channel = digits.digit_statistics(
        digits.quantise(tensor, channel_axis=0).values, "booth", 8
    ).mean
    assert per_tensor < per_channel / 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: digits.encode([1], "ent", 7),
            "width must be an even number of bits from 4 to 16, not 7",
        ),
        (
            lambda: digits.encode([1], "ent", 18),
            "width must be an even number of bits from 4 to 16, not 18",
        ),
        (
            lambda: digits.encode([200], "ent", 8),
            "values must lie in -128 to 127 for 8 bits, not 200",
        ),
        (
            lambda: digits.encode([1.5], "ent", 8),
            "values must be integers, not float64; quantise a float tensor first "
            "(dataflow.digits.quantise), because its scale decides its digits",
        ),
        (
            lambda: digits.encode([1], "naf", 8),
            "encoding must be one of twos, signmag, booth, ent, csd, not 'naf'",
        ),
        (
            lambda: digits.quantise([1.0, math.nan]),
            "a tensor to quantise must be finite; it holds NaN or infinity",
        ),
        (
            lambda: digits.quantise([1.0], percentile=0),
            "percentile must lie above 0 and at most at 100, not 0",
        ),
        (
            lambda: digits.quantise([1.0], channel_axis=1),
            "channel_axis must be an axis of a tensor of rank 1, not 1",
        ),
        (
            lambda: digits.digit_statistics(np.zeros(0, np.int8), "ent", 8),
            "digit statistics need at least one value, not an empty tensor",
        ),
        (
            lambda: digits.normal_pmf(0, 8),
            "standard deviation must be a positive number, not 0",
        ),
    ],
)
def test_bad_input_is_named_in_one_sentence(call, message: str) -> None:
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value) == message
