"""Sparse matrices: what is accepted, what is refused in one sentence, what generators draw."""

import gzip
import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.io import mmwrite

from workloads import InputError, Unstructured, gemm
from workloads.importers.bounded import MOST_UNPACKED_BYTES
from workloads.matrices import (
    GRAPH500,
    MILD,
    Csr,
    banded,
    block_sparse,
    files,
    power_law,
    pruned_layer,
    read_matrix,
    rmat,
    sparse_product,
    training_gemm,
    uniform,
    with_matrices,
    write_matrix,
)
from workloads.matrices.fetch import fetch
from workloads.matrices.graph_tool import MAGIC, parse_graph_tool


def generator(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def csr(indptr, indices, values, shape=(2, 3)) -> Csr:
    return Csr(
        shape=shape,
        indptr=np.array(indptr, dtype=np.int64),
        indices=np.array(indices, dtype=np.int32),
        values=np.array(values, dtype=float),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0], [1.0]), "row starts of matrix must be 3 ascending numbers"),
        (([0, 2, 1], [0, 1], [1, 1]), "row starts of matrix must be 3 ascending numbers"),
        (([0, 1, 2], [0], [1.0]), "as many columns and values as its last row start says: 2"),
        (([0, 1, 2], [0, 3], [1, 1]), "columns of matrix must be from 0 to 2, not 0 to 3"),
        (([0, 1, 2], [-1, 2], [1, 1]), "columns of matrix must be from 0 to 2, not -1 to 2"),
        (([0, 2, 2], [1, 0], [1, 1]), "columns of row 0 of matrix must be ascending"),
        (([0, 0, 2], [1, 1], [1, 1]), "row 1 of matrix must be .* not 1 followed by 1"),
        (([0, 1, 1], [1], [np.nan]), "values of matrix must be finite; row 0, column 1 is nan"),
        (([0, 0, 1], [2], [np.inf]), "values of matrix must be finite; row 1, column 2 is inf"),
    ],
)
def test_a_matrix_that_contradicts_itself_is_refused(arguments, message: str) -> None:
    with pytest.raises(InputError, match=message):
        csr(*arguments)


def test_a_dense_matrix_of_numbers_that_are_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match="must be finite; row 1, column 0 is nan"):
        Csr.from_dense([[1, 0], [np.nan, 2]])


def test_integer_values_are_refused() -> None:
    with pytest.raises(InputError, match="must be float64 or float32, not int64"):
        Csr(
            shape=(1, 1),
            indptr=np.array([0, 1]),
            indices=np.array([0], dtype=np.int32),
            values=np.array([1]),
        )


def test_triples_outside_the_shape_are_named() -> None:
    with pytest.raises(
        InputError, match="entry 1 of matrix is at row 2, column 0, outside its 2x2"
    ):
        Csr.from_coo((2, 2), [0, 2], [0, 0], [1.0, 1.0])


def test_a_shape_beyond_32_bit_indices_is_refused() -> None:
    with pytest.raises(InputError, match="two sizes from 0 to 2147483647"):
        Csr.from_coo((2**31, 1), [], [], [])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(-3, 3)), max_size=30))
def test_triples_in_any_order_add_up_as_in_scipy(triples) -> None:
    rows, columns, values = (np.array([t[i] for t in triples], dtype=int) for i in range(3))
    ours = Csr.from_coo((5, 6), rows, columns, values)
    theirs = sparse.coo_array((values.astype(float), (rows, columns)), shape=(5, 6))
    assert np.array_equal(ours.to_scipy().toarray(), theirs.toarray())
    assert np.array_equal(Csr.from_scipy(theirs).to_scipy().toarray(), theirs.toarray())


@given(st.integers(0, 2**32 - 1))
def test_transposing_twice_gives_the_matrix(seed: int) -> None:
    matrix = uniform(9, 5, 3, rng=generator(seed))
    twice = matrix.transposed.transposed
    assert np.array_equal(twice.indptr, matrix.indptr)
    assert np.array_equal(twice.indices, matrix.indices)
    assert np.array_equal(twice.values, matrix.values)
    assert np.array_equal(matrix.transposed.to_scipy().toarray(), matrix.to_scipy().toarray().T)


def test_a_uniform_row_has_at_most_the_entries_that_are_drawn() -> None:
    matrix = uniform(30, 7, 4, rng=generator())
    assert 1 <= matrix.row_lengths.min() < matrix.row_lengths.max() <= 4


@pytest.mark.parametrize("suffix", [".npz", ".mtx"])
def test_what_is_written_is_read(tmp_path, suffix: str) -> None:
    matrix = uniform(20, 30, 4, rng=generator())
    again = read_matrix(write_matrix(tmp_path / f"m{suffix}", matrix))
    assert again.shape == matrix.shape
    assert np.array_equal(again.indices, matrix.indices)
    assert again.values == pytest.approx(matrix.values, rel=1e-15)
    assert [path.name for path in tmp_path.iterdir()] == [f"m{suffix}"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot make the folder .*file: "):
        write_matrix(tmp_path / "file" / "m.npz", banded(3, 1))


def test_symmetric_unsorted_and_repeated_entries_are_expanded_and_summed(tmp_path) -> None:
    path = tmp_path / "s.mtx"
    path.write_text(
        "%%MatrixMarket matrix coordinate real symmetric\n3 3 4\n3 1 2\n2 2 5\n3 1 1\n1 1 4\n"
    )
    assert np.array_equal(read_matrix(path).to_scipy().toarray(), [[4, 0, 3], [0, 5, 0], [3, 0, 0]])


BROKEN_FILES = {
    "truncated.mtx": "%%MatrixMarket matrix coordinate real general\n3 3 4\n1 1 2\n",
    "outside.mtx": "%%MatrixMarket matrix coordinate real general\n2 2 1\n3 1 2\n",
    "text.mtx": "hello\n",
    "empty.mtx": "",
    "wide.mtx": "%%MatrixMarket matrix coordinate real general\n2 2000000000 1\n1 1 2\n",
    "word.mtx": "%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 many\n",
    "nan.mtx": "%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 nan\n",
    "complex.mtx": "%%MatrixMarket matrix coordinate complex general\n2 2 1\n1 1 1 2\n",
    "junk.npz": "not a zip file",
    "junk.gt": "not a graph",
    "junk.mtx.gz": "not gzip",
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_broken_file_gives_one_sentence(tmp_path, name: str) -> None:
    path = tmp_path / name
    path.write_text(BROKEN_FILES[name])
    with pytest.raises(InputError) as caught:
        read_matrix(path)
    assert "\n" not in str(caught.value)
    assert name.split(".")[0] in str(caught.value)


def test_an_npz_with_a_pickle_is_refused(tmp_path) -> None:
    path = tmp_path / "pickled.npz"
    np.savez(path, format=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"is not a SciPy sparse .npz file"):
        read_matrix(path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere/x.mtx", "no matrix file is at nowhere/x.mtx"),
        ("no-such-graph", "shipped are email-Enron, polblogs"),
    ],
)
def test_a_missing_matrix_says_what_there_is(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_matrix(source)


def test_a_fetched_matrix_is_found_by_its_name(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SPARSIGHT_MATRICES", str(tmp_path))
    write_matrix(files.cache_directory() / "mine.npz", banded(3, 1))
    assert read_matrix("mine").nnz == 7


def test_the_shipped_matrices_are_those_of_their_sources() -> None:
    """Sizes as SNAP and Newman state them."""
    email, blogs = read_matrix("email-Enron"), read_matrix("polblogs")
    assert (email.shape[0], email.nnz) == (36_692, 2 * 183_831)
    assert np.array_equal(email.transposed.indices, email.indices)
    assert (blogs.shape[0], blogs.nnz) == (1_490, 19_025)


def graph_file(vertices: int, neighbours: list[list[int]], *, directed: bool, big: bool) -> bytes:
    """Write the adjacency part of the format by its documentation, independently of the parser."""
    order = ">" if big else "<"
    label = next(code for code, bits in zip("BHI", (8, 16, 32), strict=True) if vertices <= 2**bits)
    parts = [MAGIC, bytes([1, big]), struct.pack(f"{order}Q", 5), b"hello", bytes([directed])]
    parts.append(struct.pack(f"{order}Q", vertices))
    parts += [struct.pack(f"{order}Q{len(mine)}{label}", len(mine), *mine) for mine in neighbours]
    return b"".join(parts)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("directed", [False, True])
def test_a_graph_becomes_its_adjacency_matrix(directed: bool, big: bool) -> None:
    content = graph_file(3, [[1, 1], [2], []], directed=directed, big=big)
    dense = np.zeros((3, 3))
    dense[0, 1] = dense[1, 2] = 1
    expected = dense if directed else dense + dense.T
    assert np.array_equal(parse_graph_tool(content).to_scipy().toarray(), expected)


def test_a_graph_file_is_read_compressed_too(tmp_path) -> None:
    path = tmp_path / "g.gt.gz"
    path.write_bytes(gzip.compress(graph_file(300, [[299], *[[]] * 299], directed=True, big=False)))
    assert read_matrix(path).indices.tolist() == [299]


@pytest.mark.parametrize("suffix", [".gt.gz", ".mtx.gz"])
def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, suffix: str) -> None:
    path = tmp_path / f"bomb{suffix}"
    chunk = gzip.compress(bytes(1 << 24))  # members of a gzip file follow one another
    path.write_bytes(chunk * (MOST_UNPACKED_BYTES // (1 << 24) + 1))
    with pytest.raises(InputError, match=f"must unpack to at most {MOST_UNPACKED_BYTES} bytes"):
        read_matrix(path)


@pytest.mark.parametrize("length", range(0, 60, 3))
def test_a_graph_file_that_ends_early_is_refused(length: int) -> None:
    content = graph_file(3, [[1, 2], [2], [0]], directed=True, big=False)
    with pytest.raises(InputError, match="graph"):
        parse_graph_tool(content[: min(length, len(content) - 1)])


def test_a_neighbour_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="has a neighbour 9 but only 3 vertices"):
        parse_graph_tool(graph_file(3, [[9], [], []], directed=True, big=False))


def test_fetching_from_a_package_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="no Debian package is at"):
        fetch("karate", deb=tmp_path / "no.deb")


GENERATED = {
    "rmat": lambda rng: rmat(8, 8, GRAPH500, rng=rng),
    "uniform": lambda rng: uniform(100, 50, 4, rng=rng),
    "power_law": lambda rng: power_law(200, 5, rng=rng),
    "block": lambda rng: block_sparse(60, 50, 16, 0.3, rng=rng),
    "pruned": lambda rng: pruned_layer(40, 30, 0.1, rng=rng),
}


@pytest.mark.parametrize("name", GENERATED)
def test_a_generator_draws_the_same_from_the_same_seed_only(name: str) -> None:
    first, again, other = (GENERATED[name](generator(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.indices, again.indices)
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)


def test_mild_rmat_resembles_the_matrix_of_the_paper() -> None:
    """Within 6 % of the 254 211 entries recalled."""
    assert rmat(14, 16, MILD, rng=generator()).nnz == pytest.approx(254_211, rel=0.06)


def test_the_band_and_the_share_of_weights_are_as_asked() -> None:
    dense = banded(50, 3).to_scipy().toarray()
    assert (dense != 0).sum() == sum(50 - abs(offset) for offset in range(-3, 4))
    layer = pruned_layer(64, 64, 0.25, rng=generator())
    assert layer.nnz == 1024
    full = generator().standard_normal((64, 64)) / 8
    assert np.abs(layer.values).min() >= np.sort(np.abs(full).ravel())[-1024]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rmat(31, 1, rng=generator()), "scale must be from 0 to 30, not 31"),
        (lambda: rmat(2, 1, (0.5, 0.5, 0.5, 0), rng=generator()), "add up to 1"),
        (lambda: rmat(2, 0, rng=generator()), "edges per row must be a positive"),
        (lambda: banded(0, 1), "size of a banded matrix must be a positive"),
        (lambda: banded(2, -1), "half width of a band must not be negative"),
        (lambda: uniform(0, 1, 1, rng=generator()), "rows must be a positive"),
        (lambda: power_law(5, 2, exponent=1.0, rng=generator()), "exponent of a power law"),
        (lambda: block_sparse(4, 4, 2, 0.0, rng=generator()), "block density must be above 0"),
        (lambda: pruned_layer(4, 4, 1.5, rng=generator()), "layer density must be above 0"),
        (lambda: uniform(2, 3, 1, rng=generator()).permuted(generator()), "must be square"),
    ],
)
def test_generators_refuse_what_makes_no_sense(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_a_product_of_matrices_that_do_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"must be as many as rows of .*, not 3 and 2"):
        sparse_product(csr([0, 1, 1], [2], [1.0]), csr([0, 1, 1], [2], [1.0]))


def test_a_product_without_rows_is_refused() -> None:
    nothing = Csr.from_coo((0, 3), [], [], [])
    with pytest.raises(InputError, match="must have rows and columns to be multiplied"):
        sparse_product(nothing, csr([0, 1, 1, 1], [2], [1.0], shape=(3, 3)))


def test_masked_weights_times_activations_skip_both_zeros() -> None:
    weights = generator().standard_normal((4, 6))
    mask = generator().random((4, 6)) < 0.5
    inputs = np.maximum(generator().standard_normal((6, 5)), 0)
    product = training_gemm(weights, mask, inputs).matmuls[0]
    left, right = product.matrices
    assert left.nnz == mask.sum()
    assert right.nnz == (inputs != 0).sum()
    assert product.left.pattern.density == pytest.approx(mask.mean())


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"mask must have the shape \(2, 3\)"):
        training_gemm(np.ones((2, 3)), np.ones((3, 2)), np.ones((3, 1)))


def test_operands_are_drawn_with_the_density_that_the_product_states() -> None:
    product = gemm(200, 300, 100, pattern=Unstructured(0.1)).matmuls[0]
    left, right = with_matrices(product, generator()).matrices
    assert left.nnz == 200 * 300
    assert right.nnz == pytest.approx(0.1 * 300 * 100, rel=0.1)
    given = sparse_product(right.transposed, right).matmuls[0]
    assert with_matrices(given, generator()).matrices is given.matrices


def test_matrix_market_of_scipy_is_read_from_a_compressed_file(tmp_path) -> None:
    buffer = io.BytesIO()
    mmwrite(buffer, banded(4, 1).to_scipy().tocoo())
    path = tmp_path / "b.mtx.gz"
    path.write_bytes(gzip.compress(buffer.getvalue()))
    assert read_matrix(path).nnz == 10


def test_a_batch_of_products_has_operands_of_its_own_for_each() -> None:
    (op,) = gemm(3, 5, 4)
    sizes = {side: replace(getattr(op, side), elements=60) for side in ("left", "right", "out")}
    left, right = with_matrices(replace(op, batch=3, **sizes), generator()).matrices
    assert (left.shape, right.shape) == ((9, 15), (15, 4))
    assert left.nnz == 3 * op.m * op.k
    assert right.nnz == 3 * op.k * op.n
    blocks = np.kron(np.eye(3), np.ones((op.m, op.k)))
    assert (left.to_scipy().toarray() != 0).tolist() == (blocks != 0).tolist()


@pytest.mark.parametrize("column", [-1, 9])
def test_an_npz_file_with_a_column_outside_the_matrix_is_refused(column: int, tmp_path) -> None:
    path = tmp_path / "outside.npz"
    np.savez(
        path,
        format=np.array(b"csr"),
        shape=np.array([3, 3]),
        data=np.ones(3),
        indices=np.array([0, column, 1]),
        indptr=np.array([0, 1, 2, 3]),
    )
    with pytest.raises(InputError, match=r"is not a SciPy sparse .npz file"):
        read_matrix(str(path))
