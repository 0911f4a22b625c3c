"""Where users keep things: names in their language, one folder for many runs, folders they may not
write."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from workloads.trace import shipped

ROOT = Path(__file__).parents[2]
PLACES = ["Füße 数据 папка مجلد", "a 'quoted' [red] %s {name}"]


@pytest.mark.parametrize("name", PLACES)
def test_folders_in_any_language_are_read_and_written(sparsight, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    step = folder / f"{name}.trace"
    shutil.copy(shipped()["digits-vit"], step)
    outputs = {kind: folder / f"{name}.{kind}" for kind in ("csv", "parquet", "svg")}
    result = sparsight(
        *("compare", "sat", "--trace", step, "--methods", "dense,bdwp:2:8"),
        *("--csv", outputs["csv"], "--parquet", outputs["parquet"], "--plot", outputs["svg"]),
        *("--report", folder / name),
    )
    assert result.code == 0, result.err
    assert all(path.stat().st_size > 0 for path in outputs.values())
    assert (folder / name / "report.html").exists()
    assert name in result.err


def test_a_study_in_any_language_keeps_its_results_beside_it(sparsight, tmp_path: Path) -> None:
    study = tmp_path / "研究 é.toml"
    study.write_text('version = 1\nnetworks = ["resnet9"]\nbatches = [1]\n', "utf-8")
    assert sparsight("sweep", study, "--report", tmp_path / "ö.html").code == 0
    assert (tmp_path / "研究 é.sqlite").exists()


FILES = {
    "requests.csv": "seq_len,ch_idx\n40,0\n100,1\n",
    "arrivals.csv": "arrival_s,input_tokens,output_tokens\n0,10,5\n0.1,20,6\n",
    "matrix.mtx": "%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 1\n2 1 4\n",
    "model.py": "import torch\n"
    "def step():\n"
    "    return torch.nn.Linear(8, 4), torch.randn(2, 8), torch.zeros(2, dtype=torch.int64)\n",
}


@pytest.mark.parametrize(
    "command",
    [
        ("trace", "topology", "digits-resnet", "-o", "written.csv"),
        ("run", "neupims", "--requests", "requests.csv", "--csv", "written.csv"),
        (
            *("serve", "--system", "npu-only", "--requests", "arrivals.csv"),
            *("--iterations", "written.csv", "--timeline", "written.json"),
        ),
        ("run", "gamma", "--matrix", "matrix.mtx", "--csv", "written.csv"),
        ("reproduce", "sat/facts", "--out", "written.folder"),
        ("run", "systolic", "--gemm", "8,8,8", "--timeline", "written.json"),
        *(
            [("rtl", "generate", "pim_gate", "-o", "written.v")]
            * (find_spec("amaranth") is not None)
        ),
        *([("capture", "model.py:step", "-o", "written.trace")] * (find_spec("torch") is not None)),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_every_command_reads_and_writes_files_in_any_language(
    sparsight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    folder = tmp_path / "Größe 数据 🚀 x"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def odd(word: str) -> str:
        return re.sub(r"^(requests|arrivals|matrix|model|written)(?=[.])", r"\1 ß 模型 🚀", word)

    for name, text in FILES.items():
        Path(odd(name)).write_text(text, "utf-8")
    result = sparsight(*map(odd, command))
    assert result.code == 0, result.err
    for word in command:
        if word.startswith("written"):
            assert Path(odd(word)).exists()


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "simulator.cli", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def test_runs_at_the_same_time_share_a_folder_of_results(tmp_path: Path) -> None:
    """Each writes every file whole; nobody finds half of one, and no temporary name is left."""
    runs = [start("reproduce", "sat/facts", "--out", tmp_path) for _ in range(4)]
    for run in runs:
        with run:
            _, complaint = run.communicate()
        assert run.returncode == 0, complaint
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"agreement.md", "facts.paper.csv", "facts.ours.csv", "facts.meta.json"}
    recorded = ROOT / "sim_results" / "sat" / "facts.ours.csv"
    assert (tmp_path / "sat" / "facts.ours.csv").read_bytes() == recorded.read_bytes()


@pytest.mark.parametrize(
    "command",
    [
        ("run", "systolic", "--gemm", "64,64,64", "--csv", "FOLDER/x.csv"),
        ("run", "systolic", "--gemm", "64,64,64", "--timeline", "FOLDER/x.json"),
        ("run", "systolic", "--gemm", "64,64,64", "--report", "FOLDER"),
        ("compare", "sat", "--gemm", "64,64,64", "--plot", "FOLDER/x.svg"),
        ("reproduce", "sat/facts", "--out", "FOLDER"),
        ("capture", "model.py:step", "-o", "FOLDER/x.trace"),
        ("trace", "topology", "digits-vit", "-o", "FOLDER/x.csv"),
        ("sweep", "FOLDER/study.toml"),
    ],
    ids=lambda command: " ".join(command[::4]),
)
def test_a_folder_that_may_not_be_written_is_refused_before_anything_is_computed(
    refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """The tests may run as root, who may write everywhere: the question is answered instead."""
    (tmp_path / "study.toml").write_text('version = 1\nnetworks = ["resnet9"]\nbatches = [1]\n')
    access = os.access

    def answered(path, mode: int, **options) -> bool:
        inside = str(path).startswith(str(tmp_path))
        return not (inside and mode == os.W_OK) and access(path, mode, **options)

    monkeypatch.setattr("os.access", answered)
    said = refused(*(word.replace("FOLDER", str(tmp_path)) for word in command))
    assert said.startswith(("cannot write", "cannot make the store"))
    assert "may not be written" in said
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"study.toml"}


def test_a_folder_that_may_not_be_written_is_named(
    refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests may run as root, whom no permission stops: the system call refuses instead."""
    opened = open

    def refuse(file, mode="r", *rest, **options):
        if "x" in mode and str(file).startswith(str(tmp_path)):
            raise PermissionError(13, "Permission denied", str(file))
        return opened(file, mode, *rest, **options)

    monkeypatch.setattr("builtins.open", refuse)
    target = tmp_path / "table.csv"
    run = ("run", "systolic", "--gemm", "64,64,64", "--json", "--csv", target)
    monkeypatch.setattr("simulator.cli.output.print_json", lambda value: None)
    assert f"cannot write {target}: Permission denied" in refused(*run)
    assert list(tmp_path.iterdir()) == []
