"""Files are written whole or not at all, and never in the place of something else."""

import os
from pathlib import Path

import pytest

from workloads import InputError
from workloads.files import read_text, write_whole


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


def test_a_device_or_a_pipe_is_left_in_its_place(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match=rf"cannot write {pipe}: it is a device or a pipe; name a"):
        write_whole({tmp_path / "a": b"1", pipe: b"2"})
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link = tmp_path / "link"
    link.symlink_to(Path("far") / "file")
    write_whole({link: b"new"})
    assert link.is_symlink()
    assert (tmp_path / "far" / "file").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["file"]


def test_links_in_a_circle_are_left_alone(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(link)
    with pytest.raises(InputError, match=f"cannot write {link}: its links lead in a circle"):
        write_whole({link: b"new"})
    assert link.is_symlink()


def test_a_text_without_end_is_refused() -> None:
    with pytest.raises(InputError, match="/dev/zero must be a text of at most 256 MiB"):
        read_text(Path("/dev/zero"))
