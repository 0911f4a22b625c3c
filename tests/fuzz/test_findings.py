"""Inputs that fuzzing found a reader to fail on: each is refused in a sentence, or read."""

import gzip
from pathlib import Path

import pytest

from tests.fuzz.targets import targets
from workloads import InputError
from workloads.matrices import read_matrix

HEAD = b"%%MatrixMarket matrix coordinate real general\n"
ARRAY = b"%%MatrixMarket matrix array real general\n"


@pytest.mark.parametrize(
    "content",
    [
        HEAD + b"4 4 3\n1 1 0.5\n2 3 -1e\x004 2\n",  # the process died
        HEAD + b"3 4 3\n1 1 0.5\n2 3 -1e3\n3 4 2coordinate real genera",  # the process died
        HEAD + b"4 4 9999999999\n1 1 0.5\n",  # 150 GB were allocated
        ARRAY + b"2 2999999999\n1\n",  # 45 GB were allocated
        ARRAY + b"2 \n",
        HEAD,
    ],
)
def test_a_matrix_that_broke_the_reader(content: bytes) -> None:
    with pytest.raises(InputError, match="not a valid MatrixMarket file"):
        targets()["matrix"].read(content)


def test_a_matrix_without_a_last_newline_is_read() -> None:
    matrix = targets()["matrix"].read(HEAD + b"2 2 1\n2 2 1.5")
    assert matrix.values.tolist() == [1.5]


def test_a_damaged_compressed_matrix_is_refused(tmp_path: Path) -> None:
    """Bytes in the middle of the stream are no longer those of deflate."""
    whole = bytearray(gzip.compress(HEAD + b"2 2 1\n2 2 1.5\n"))
    whole[12:20] = b"\xff" * 8
    path = tmp_path / "m.mtx.gz"
    path.write_bytes(whole)
    with pytest.raises(InputError, match="cannot read"):
        read_matrix(path)
