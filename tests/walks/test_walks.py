"""The walks of three newcomers still lead where they say."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.walks.transcript import Step, first_missing, replay, steps

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WALKS = [
    walk
    for walk in sorted(HERE.glob("*.md"))
    if walk.stem != "ml_engineer" or importlib.util.find_spec("torch")
]


def copy_of_the_checkout(folder: Path) -> Path:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def installed(folder: Path) -> Path:
    """Make a folder that stands for an environment in which everything is installed."""
    folder.mkdir()
    (folder / "bin").symlink_to(Path(sys.executable).parent)
    for stamp in ("demo.stamp", "test.stamp"):
        (folder / stamp).touch()
    return folder


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.stem)
def test_the_walk_leads_where_it_says(walk: Path, tmp_path: Path) -> None:
    checkout = copy_of_the_checkout(tmp_path / "sparsight")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(checkout),
        "VENV": str(installed(tmp_path / "venv")),
        "COLUMNS": "120",
    }
    for step in steps(walk.read_text("utf-8")):
        assert not (wrong := replay(step, checkout, environment)), wrong


def test_a_transcript_is_read_with_its_files_and_exit_codes() -> None:
    text = "Words\n```console\n$ cat > f <<E\n> a\n>\n> E\n$ false\nout  put\n...\n[exit 1]\n```\n"
    assert list(steps(text)) == [
        Step("cat > f <<E\na\n\nE"),
        Step("false", expected=["out  put"], code=1),
    ]


def test_a_wrong_output_and_a_wrong_exit_code_are_seen(tmp_path: Path) -> None:
    environment = dict(os.environ)
    assert replay(Step("echo a; echo b", expected=["a", "b"]), tmp_path, environment) == ""
    assert "no line 'a'" in replay(
        Step("echo b; echo a", expected=["b", "a", "a"]), tmp_path, environment
    )
    assert "exit 3, not 0" in replay(Step("exit 3"), tmp_path, environment)
    assert first_missing(["one two"], "one   two three") is None
