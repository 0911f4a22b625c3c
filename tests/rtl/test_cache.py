"""Results that are kept between runs: made once, whole or not at all."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from rtl.cache import kept
from workloads import InputError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("SPARSIGHT_RTL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_two_that_want_the_same_make_it_once(cache: Path) -> None:
    made = []

    def make(directory: Path) -> None:
        made.append(directory)
        time.sleep(0.2)
        (directory / "result").write_text("whole")

    wanting = [threading.Thread(target=kept, args=("same", make)) for _ in range(3)]
    for thread in wanting:
        thread.start()
    for thread in wanting:
        thread.join()
    assert len(made) == 1
    assert (kept("same", make) / "result").read_text() == "whole"
    assert [path.name for path in cache.iterdir()] == ["same"]


def test_what_fails_leaves_nothing_behind(cache: Path) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").write_text("")
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        kept("half", fail)
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_one_sentence(cache: Path) -> None:
    cache.write_text("")
    with pytest.raises(InputError) as error:
        kept("result", lambda directory: None)
    assert str(error.value) == (
        f"cannot keep results in {cache}: File exists; "
        "SPARSIGHT_RTL_CACHE=FOLDER names another place"
    )
