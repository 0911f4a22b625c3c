"""Wrong input: one sentence that says what would be right, exit code 2, no other output."""

import errno
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.cli import main

INTERRUPTED = "sparsight: interrupted; no file was left half-written"
GEMM = ("run", "systolic", "--gemm", "64,64,64")
NETWORK = ("run", "sat", "--network", "resnet9", "--batch", "2")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "sta", *GEMM[2:]), "no accelerator is called 'sta'; did you mean sat?"),
        (("run", "sat"), "name one workload: --network NAME, --trace FILE"),
        ((*GEMM, "--network", "resnet9"), "not --network and --gemm"),
        ((*GEMM, "--batch", "4"), "--batch applies to --network and --model only"),
        ((*GEMM, "--batch", "0"), "--batch applies to --network and --model only"),
        ((*GEMM, "--csv", "."), "cannot write .: it is a directory; name a file"),
        ((*GEMM, "--timeline", "."), "cannot write .: it is a directory; name a file"),
        ((*GEMM, "--csv", "a", "--timeline", "a"), "a is named for two outputs"),
        (("run", "smash", "--matrix", "."), "a matrix is a file, but . is a directory"),
        (
            ("run", "neupims", "--requests", "sharegpt", "--batch", "0"),
            "--batch must be at least 1 request",
        ),
        (("run", "neupims", "--requests", "alpaca:8", "--set", "scratchpad_bytes=1"), "two tiles"),
        (("compare", "neupims", *NETWORK[2:]), "sparsight run gpu takes the same requests"),
        ((*NETWORK, "--network", "resnet18"), "--network is given twice; give it once"),
        ((*GEMM, "--json", "--json"), "--json is given twice"),
        (("compare", "sat", *NETWORK[2:], "--methods", "dense,dense"), "dense is named twice"),
        (("compare", "sat", *NETWORK[2:], "--methods", "bdwp,bdwp:2:8"), "bdwp:2:8 is named twice"),
        ((*GEMM, "--pattern", "99999:999999"), "M of N:M must be at most 65536, not 999999"),
        (("run", "sat", "--model", "nope"), "give a file, MODULE:FUNCTION, or a name"),
        (("run", "neupims", "--requests", "sharegpt:999999999999999"), "at most 10000000 requests"),
        (
            ("run", "gpu", "--requests", "sharegpt", "--batch", "99999999999999999999"),
            "at most 10000000 requests, not 99999999999999999999",
        ),
        (("serve",), "Missing option '--system'. Choose from: gpu-only, npu-only, npu-pim"),
        ((*GEMM, "--inference"), "--inference applies to --network and --model only"),
        ((*GEMM, "--method", "bdwp:2:8"), "with --gemm use --pattern"),
        ((*NETWORK, "--pattern", "2:8"), "--pattern applies to --gemm only; with --network use"),
        (("run", "sat", "--trace", "no.trace"), "there is no trace file no.trace"),
        (("run", "sat", "--trace", "digits-resne"), "did you mean digits-resnet?"),
        (("run", "sat", "--network", "resnet"), "no network is called 'resnet'"),
        (("run", "sat", "--network", "resnet9", "--batch", "0"), "must be a positive whole number"),
        (("run", "sat", "--network", "resnet9", "--tokens", "8"), "has no tokens to set"),
        ((*NETWORK, "--method", "bdpw:2:8"), "no method is called 'bdpw'; did you mean bdwp?"),
        ((*NETWORK, "--method", "bdwp:9:8"), "1 <= N <= M, not 9:8"),
        (("run", "sat", "--gemm", "4,5"), "--gemm must be three whole numbers M,K,N, not '4,5'"),
        (("run", "sat", "--gemm", "4,5,x"), "--gemm must be three whole numbers"),
        (("run", "sat", "--gemm", "4,5,1_0"), "three whole numbers M,K,N, not '4,5,1_0'"),
        ((*GEMM, "--set", "rows=1_0"), "rows must be a whole number, not '1_0'"),
        ((*GEMM, "--set", "clock_hz=1_0.5"), "clock_hz must be a number, not '1_0.5'"),
        ((*GEMM, "--pattern", "2:1_6"), "pattern must be dense, N:M"),
        ((*NETWORK, "--method", "low-rank:1_0"), "low-rank"),
        ((*NETWORK[:3], "resnet9", "--batch", "1_0"), "--batch must be a whole number, not '1_0'"),
        (
            (*NETWORK[:3], "resnet9", "--batch", "\N{FULLWIDTH DIGIT ONE}"),
            "--batch must be a whole number",
        ),
        ((*NETWORK[:3], "resnet9", "--batch", "many"), "--batch must be a whole number"),
        (("serve", "--system", "neupims", "--rate", "2_0"), "--rate must be a number, not '2_0'"),
        (("run", "neupims", "--requests", "alpaca:1_0"), "must be a CSV file or alpaca:BATCH:SEED"),
        (("run", "neupims", "--requests", "alpaca", "--batch", "1_0"), "not '1_0'"),
        (
            (
                "run",
                "neupims",
                "--requests",
                "alpaca:8",
                "--set",
                "weights=\N{FULLWIDTH DIGIT TWO}:4",
            ),
            "weights must be dense, N:M",
        ),
        (("rtl", "generate", "sat", "--rows", "1_0", "-o", "x.v"), "rows must be a whole number"),
        (("rtl", "generate", "sat", "--set", "rows=1_0", "-o", "x.v"), "not '1_0'"),
        (("run", "sat", "--gemm", "4,0,6"), "K must be a positive whole number, not 0"),
        (("run", "sat", "--gemm", "9999999,9999999,999"), "999 may exceed 4.6e+18, more than 64"),
        (("run", "sat", "--gemm", "9,9,9999999999"), "9999999999; at most 2147483648 is counted"),
        ((*GEMM, "--set", "clock_hz=1e308"), "clock_hz must be between 0.001 and 1e+18"),
        ((*NETWORK, "--method", ""), "no method is called ''"),
        ((*NETWORK, "--method", "zz"), "transposable, and what 'sparsight methods' lists"),
        ((*GEMM, "--pattern", ""), "pattern must be dense, N:M"),
        (("compare", "sat", *NETWORK[2:], "--methods", ""), "no method is called ''"),
        ((*GEMM, "--csv", "a", "--parquet", "a"), "a is named for two outputs; give each a place"),
        ((*GEMM, "--pattern", "4:2"), "1 <= N <= M, not 4:2"),
        ((*GEMM, "--set", "row=3"), "has no field 'row'; did you mean rows?"),
        ((*GEMM, "--set", "rows"), "--set must be field=value, not 'rows'"),
        ((*GEMM, "--set", "rows=many"), "rows must be a whole number, not 'many'"),
        ((*GEMM, "--set", "rows=0"), "rows must be a positive whole number, not 0"),
        ((*GEMM, "--set", "clock_hz=nan"), "clock_hz must be a positive number, not nan"),
        ((*GEMM, "--set", "dataflow=rs"), "dataflow must be one of os, ws, is, not 'rs'"),
        ((*GEMM, "--set", "rows=1", "--set", "rows=2"), "--set rows is given twice"),
        ((*GEMM, "--metod", "x"), "there is no option --metod; did you mean --method?"),
        ((*GEMM, "leftover"), "'leftover' belongs to no option"),
        ((*GEMM, "--scalesim-config"), "--scalesim-config takes FILE.cfg, not nothing"),
        ((*GEMM, "--scalesim-config", "no.cfg"), "no.cfg"),
        ((*GEMM, "--csv", "no/such/folder.csv"), "there is no folder"),
        ((*GEMM, "--plot", "x.pdf"), "--plot must be a folder or end in .png or .svg, not 'x.pdf'"),
        (("run", "sat", "--topology", "no.csv"), "no.csv"),
        (("compare", *GEMM[2:]), "name accelerators, as in sparsight compare sat gpu"),
        (
            ("compare", "sat", *NETWORK[2:], "--methods", "dense", "bdwp:2:8"),
            "methods are joined by commas, as in --methods dense,bdwp:2:8",
        ),
        (("compare", "sat,gp", *GEMM[2:]), "no accelerator is called 'gp'"),
        (("compare", "sat", *NETWORK[2:], "--methods", "2:8"), "as in bdwp:2:8, not '2:8'"),
        (("compare", "--accelerators", "all,sat", *GEMM[2:]), "all stands alone"),
        (("serve",), "(sparsight serve --help says more)"),
        ((*GEMM, "--report", ""), "--report must name a file or folder, not ''"),
        ((*GEMM, "--timeline", "x.txt"), "--timeline must end in .json, not be 'x.txt'"),
        (
            ("serve", "--system", "neupims", "--requests", "alpaca", "--count", "99999999999"),
            "--count must be at most 10000000, not 99999999999",
        ),
        (("compare", "sat", "--accelerators", "all", *GEMM[2:]), "name accelerators once"),
        (("compare", "sat", *GEMM[2:], "--steps", "9"), "name some with --methods"),
        (("compare", "sat", *NETWORK[2:], "--methods", "dense", "--steps", "0"), "for '--steps'"),
        (("compare", "sat", "--model", "minilmm"), "did you mean minilm?"),
        (("compare", "sat", *GEMM[2:], "--weights-only"), "--weights-only applies to --model"),
        (("methods", "no-such"), "no method is called 'no-such'"),
        (("compare", "sat", "sat", *GEMM[2:]), "accelerator sat is named twice"),
        (("compare", "sat", *GEMM[2:], "--methods", "dense"), "with --gemm use --pattern"),
        (("compare", "sat", *GEMM[2:], "--set", "systolic.rows=4"), "names no accelerator"),
        (("compare", "sat", "systolic", *GEMM[2:], "--set", "dataflow=ws"), "no field 'dataflow'"),
        (("capture", "nowhere", "-o", "x.trace"), "must be package.module:function"),
        (("capture", "a:b", "-o", "no/such/x.trace"), "there is no folder"),
        (("trace", "show", "no.trace"), "there is no trace file no.trace"),
        (("accelerators", "sta"), "no accelerator is called 'sta'"),
        (("explain", "cycls"), "did you mean cycles"),
        (("reproduce", "nobody"), "no published exhibit is called 'nobody'"),
        (("reproduce", "--no-write", "--out", "x"), "--no-write that nothing is"),
        (("reproduce", "--summary", "no.md"), "cannot read no.md"),
        (("explain", "cycles", "--markdown"), "give it alone"),
        ((*GEMM, "--json", "--layers", "3"), "--layers applies to the table"),
        (("rum",), "No such command 'rum'"),
        (("run",), "Missing argument 'accelerator'"),
        (("trace",), "Missing command"),
        (("run", "sat", "--layers", "0", *GEMM[2:]), "--layers"),
    ],
)
def test_one_sentence_says_what_would_be_right(
    refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sentence in refused(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_page_without_markers_is_refused_before_anything_is_computed(refused, tmp_path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n")
    assert "goes between the lines" in refused("reproduce", "--summary", page)
    assert page.read_text() == "# Title\n"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"\x80\x04pickle", b"PK\x03\x04", b"text"])
def test_a_file_that_is_no_trace(refused, tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "step.trace"
    broken.write_bytes(content)
    assert str(broken) in refused("run", "sat", "--trace", broken)


def test_a_folder_that_is_a_file(refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot make the folder" in refused(*GEMM, "--report", tmp_path / "file")
    assert "cannot make the folder" in refused("reproduce", "--out", tmp_path / "file")


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.getcwd()}


def start(*arguments: str, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "simulator.cli", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        **options,
    )


def test_a_full_disk_leaves_no_half_written_file(tmp_path: Path) -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    target = tmp_path / "t.csv"
    with start(
        *NETWORK, "--csv", str(target), "--json", stdout=subprocess.DEVNULL, preexec_fn=limit
    ) as process:
        _, complaint = process.communicate()
    assert process.returncode == 2
    assert f"cannot write {target}: {os.strerror(errno.EFBIG)}" in complaint
    assert "Traceback" not in complaint
    assert list(tmp_path.iterdir()) == []


def test_standard_output_that_is_full() -> None:
    with open("/dev/full", "w") as full, start(*GEMM, "--json", stdout=full) as process:
        _, complaint = process.communicate()
    assert process.returncode == 2
    assert complaint == "sparsight: cannot write the output: No space left on device\n"


def test_a_reader_that_stops_early_is_no_error() -> None:
    with start(*NETWORK, "--json", stdout=subprocess.PIPE) as process:
        process.stdout.read(10)
        process.stdout.close()
        complaint = process.stderr.read()
    assert process.returncode == 0
    assert complaint == ""


def obey_interrupts() -> None:
    """Undo what the background job of a shell inherits: deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_with_one_line_and_no_half_written_file(
    tmp_path: Path, asked: signal.Signals
) -> None:
    waiting = tmp_path / "model.py"
    waiting.write_text(
        "import pathlib, time\n"
        "def step():\n"
        f"    pathlib.Path({str(tmp_path / 'started')!r}).touch()\n"
        "    time.sleep(60)\n"
    )
    command = ("capture", f"{waiting}:step", "-o", str(tmp_path / "x.trace"))
    with start(*command, preexec_fn=obey_interrupts) as process:
        while not (tmp_path / "started").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        process.send_signal(asked)
        _, complaint = process.communicate()
    assert process.returncode == 130, complaint
    assert complaint.splitlines()[-1] == INTERRUPTED
    assert "Traceback" not in complaint
    assert {path.name for path in tmp_path.iterdir()} <= {"model.py", "started", "__pycache__"}


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "command",
    [
        ("run", "sat", "--network", "resnet50", "--report"),
        ("compare", "sat", "gpu", "--network", "resnet9", "--methods", "dense,bdwp:2:8", "--csv"),
        ("reproduce", "methods", "--out"),
    ],
    ids=lambda command: command[0],
)
def test_whenever_a_command_is_ended_its_files_are_whole_or_absent(
    tmp_path: Path, command: tuple[str, ...], asked: signal.Signals
) -> None:
    for number, after_s in enumerate((0.6, 1.2, 2.0)):
        target = tmp_path / str(number)
        with start(
            *command, str(target), stdout=subprocess.DEVNULL, preexec_fn=obey_interrupts
        ) as process:
            time.sleep(after_s)
            process.send_signal(asked)
            _, complaint = process.communicate()
        if process.returncode == 130:  # else it had not begun, or had done everything
            assert complaint.endswith(f"{INTERRUPTED}\n")
            assert "Traceback" not in complaint
        assert not list(tmp_path.rglob("*.part"))
        for page in tmp_path.rglob("*.html"):
            assert page.read_text().rstrip().endswith("</html>")


def test_an_import_that_ctrl_c_breaks_off_is_an_interrupt(monkeypatch, capsys) -> None:
    """Libraries in C turn it into an error of their own."""

    def broken(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error

    monkeypatch.setattr("simulator.cli.app.app", broken)
    assert main(["networks"]) == 130
    assert capsys.readouterr().err == f"{INTERRUPTED}\n"
    monkeypatch.setattr("simulator.cli.app.app", lambda *_, **__: importlib.import_module("no_x"))
    with pytest.raises(ModuleNotFoundError):
        main(["networks"])
