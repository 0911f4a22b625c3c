"""Properties of the N:M format that array, selection unit and software rely on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dataflow import nm
from workloads import NM, InputError, Unstructured

patterns = st.sampled_from([NM(1, 1), NM(1, 4), NM(2, 4), NM(2, 8), NM(4, 8), NM(2, 16), NM(3, 5)])
any_fp16 = hnp.arrays(
    np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)
).map(lambda bits: bits.view(np.float16))


def test_what_fits_two_of_four_keeps_at_most_two_of_every_aligned_four() -> None:
    for m in range(1, 17):
        for n in range(1, m + 1):
            meets = [[i // m for i in range(start, start + 4)] for start in range(0, 4 * m, 4)]
            most = max(sum(min(n, met.count(g)) for g in set(met)) for met in meets)
            assert nm.fits_two_of_four(NM(n, m)) == (most <= 2), (n, m)
    assert not nm.fits_two_of_four(Unstructured(0.1))


def naive_kept(group, n):
    """Select like the hardware: compare newcomers with the smallest kept, strictly larger wins."""
    kept: list[int] = []
    key = nm.magnitude_key(group)
    for index in range(len(group)):
        if len(kept) < n:
            kept.append(index)
            continue
        smallest = min(kept, key=lambda i: (key[i], -i))
        if key[index] > key[smallest]:
            kept[kept.index(smallest)] = index
    return sorted(kept)


@given(matrix=any_fp16, pattern=patterns)
def test_selection_equals_streaming_insertion_for_all_bit_patterns(matrix, pattern) -> None:
    padded = nm.windows(matrix, pattern)
    kept = nm.kept_indices(padded, pattern)
    for group, indices in zip(
        padded.reshape(-1, pattern.m), kept.reshape(-1, pattern.n), strict=True
    ):
        assert indices.tolist() == naive_kept(group, pattern.n)


@given(matrix=any_fp16, pattern=patterns)
def test_expand_of_compress_is_the_masked_matrix(matrix, pattern) -> None:
    packed = nm.compress(matrix, pattern)
    expected = np.where(nm.mask(matrix, pattern, axis=0), matrix, np.float16(0))
    assert np.array_equal(nm.expand(packed).view(np.uint16), expected.view(np.uint16))


@given(matrix=any_fp16, pattern=patterns)
def test_every_group_keeps_n_of_its_elements(matrix, pattern) -> None:
    kept = nm.mask(matrix, pattern, axis=1)
    length = matrix.shape[1]
    for start in range(0, length, pattern.m):
        group = kept[:, start : start + pattern.m]
        assert (group.sum(axis=1) == min(pattern.n, group.shape[1])).all()


@given(matrix=any_fp16, pattern=patterns)
def test_stored_bits_are_those_of_the_pattern(matrix, pattern) -> None:
    columns = matrix.shape[1]
    one_column = pattern.stored_bits(elements=matrix.shape[0], value_bits=16)
    assert nm.compress(matrix, pattern).stored_bits == columns * one_column


def test_the_two_masks_group_along_input_and_output_channels() -> None:
    weight = np.arange(1, 65, dtype=np.float32).reshape(8, 8)
    assert nm.forward_mask(weight, NM(2, 8)).sum(axis=1).tolist() == [2] * 8
    assert nm.forward_mask(weight, NM(2, 8))[:, 6:].all()
    assert nm.backward_mask(weight, NM(2, 8)).sum(axis=0).tolist() == [2] * 8
    assert nm.backward_mask(weight, NM(2, 8))[6:].all()


def test_convolution_weights_are_grouped_per_kernel_position() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((16, 8, 3, 3)).astype(np.float32)
    assert (nm.forward_mask(weight, NM(2, 8)).sum(axis=1) == 2).all()
    assert (nm.backward_mask(weight, NM(2, 8)).reshape(2, 8, 8, 3, 3).sum(axis=1) == 2).all()


def test_magnitude_order_puts_infinity_above_numbers_and_nan_above_infinity() -> None:
    values = np.array([65504.0, np.inf, -np.nan, -0.0, 0.0, -1.0], np.float16)
    key = nm.magnitude_key(values)
    assert key[2] > key[1] > key[0] > key[5] > key[3] == key[4]


def test_the_most_negative_integer_has_the_largest_magnitude() -> None:
    assert nm.kept_indices(np.array([127, -128, 3, 0], np.int8), NM(1, 4)).tolist() == [1]


@pytest.mark.parametrize("size", [256, 257, 1000])
def test_an_index_counts_to_the_end_of_a_long_group(size: int) -> None:
    column = np.zeros((size, 1), np.float16)
    column[-1] = 3.0
    packed = nm.compress(column, NM(1, size))
    assert packed.indices.ravel().tolist() == [size - 1]
    assert np.array_equal(nm.expand(packed), column)


def test_wrong_operands_are_named() -> None:
    with pytest.raises(InputError, match=r"groups must have 8 elements, not 4"):
        nm.kept_indices(np.zeros((2, 4)), NM(2, 8))
    with pytest.raises(InputError, match=r"matrix must have two axes \(K, Q\), not 3"):
        nm.compress(np.zeros((2, 4, 4)), NM(2, 4))
    with pytest.raises(InputError, match=r"values must be integers or fp16, fp32, fp64"):
        nm.magnitude_key(np.zeros(4, complex))
