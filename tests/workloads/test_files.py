"""Files are written whole or not at all."""

from pathlib import Path

import pytest

from workloads import InputError
from workloads.files import write_whole


def test_files_get_their_names_when_all_of_them_are_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    write_whole({tmp_path / "a": b"new", tmp_path / "b": b""})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new", "b": b""}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupt_removes_the_temporary_files(
    error: type[BaseException] | OSError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        assert len(list(tmp_path.iterdir())) == 1, "the temporary file lies beside the final one"
        raise error

    monkeypatch.setattr("os.fsync", fail)
    wanted = KeyboardInterrupt if error is KeyboardInterrupt else InputError
    with pytest.raises(wanted):
        write_whole({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert not list(tmp_path.iterdir())
