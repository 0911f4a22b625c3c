"""Output that meets a narrow terminal, a poor encoding, or nobody at all."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from simulator.cli import output

README = Path(__file__).parents[2] / "README.md"
COMPARE = ("compare", "sat", "systolic", "--trace", "digits-vit", "--methods", "dense,bdwp:2:8")
RUN = ("run", "sat", "--trace", "digits-resnet", "--method", "bdwp:2:8", "--layers", "40")
HEADINGS = ("layer", "pattern", "time", "share", "bound", "by")


def plain(text: str) -> list[str]:
    """Return the lines of a text without the codes for bold."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()


def in_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))


@pytest.mark.parametrize("columns", [40, 80, 130])
def test_names_and_numbers_of_a_comparison_stay_whole(sparsight, monkeypatch, columns) -> None:
    in_terminal(monkeypatch, columns)
    shown = sparsight(*COMPARE)
    rows = [line.split() for line in plain(shown.out)]
    assert "…" not in shown.out
    for name in ("sat", "systolic"):
        for method in ("dense", "bdwp:2:8"):
            assert any(row[:2] == [name, method] for row in rows)
    for heading in ("time", "speedup", "FF", "BP", "WU", "UP", "energy", "off-chip", "utilisation"):
        assert any(heading in row for row in rows)


def test_the_readme_shows_what_the_command_prints(sparsight, monkeypatch) -> None:
    in_terminal(monkeypatch, 80)
    (block,) = re.findall(r"^```\n\$ sparsight (.*?)^```", README.read_text(), re.M | re.S)
    command, *expected = block.splitlines()
    shown = [line.rstrip() for line in plain(sparsight(*command.split()).out)]
    expected = [line for line in expected if line]
    assert [line for line in shown if line][1 : len(expected) + 1] == expected


def test_a_wide_comparison_is_parted_before_a_name_is_cut(sparsight, monkeypatch) -> None:
    in_terminal(monkeypatch, 80)
    accelerators = ("sat", "systolic", "tensorcore", "gpu")
    shown = sparsight(
        "compare", *accelerators, "--trace", "digits-vit", "--methods", "dense,sr-ste:2:4"
    )
    lines = plain(shown.out)
    assert max(map(len, lines)) <= 80
    rows = [tuple(line.split()[:2]) for line in lines]
    for each in accelerators:
        for method in ("dense", "sr-ste:2:4"):
            assert rows.count((each, method)) == 3
    headings = [line.split()[2:] for line in lines if line.split()[:1] == ["accelerator"]]
    assert headings[:2] == [
        ["time", "speedup", "by", "method"],
        ["energy", "off-chip", "utilisation"],
    ]


def test_a_narrow_list_leaves_columns_out_before_it_cuts_words(sparsight, monkeypatch) -> None:
    in_terminal(monkeypatch, 80)
    shown = sparsight("networks")
    assert max(map(len, plain(shown.out))) <= 80
    assert {"resnet18-64-3x3", "3x224x224"} <= set(shown.out.split())
    assert "left out for want of room: source: --json" in shown.err
    in_terminal(monkeypatch, 200)
    wide = sparsight("networks")
    assert "source" in wide.out
    assert "left out" not in wide.err


def test_the_operations_of_a_trace_keep_their_names_whole(sparsight, monkeypatch) -> None:
    in_terminal(monkeypatch, 80)
    shown = sparsight("trace", "show", "digits-resnet")
    assert "blocks.0.bn1.normalise.FF" in shown.out.split()
    assert "zeros: --json" in shown.err


@pytest.mark.parametrize("command", [COMPARE, RUN])
def test_tables_fit_a_terminal_of_80_columns(sparsight, monkeypatch, command) -> None:
    in_terminal(monkeypatch, 80)
    shown = sparsight(*command)
    assert "…" not in shown.out
    assert max(map(len, plain(shown.out))) <= 80


def test_times_of_a_layer_by_pass_are_shown_where_there_is_room(sparsight, monkeypatch) -> None:
    in_terminal(monkeypatch, 130)
    (heading,) = (line for line in plain(sparsight(*RUN).out) if "bound by" in line)
    assert heading.split() == [*HEADINGS[:2], "FF", "BP", "WU", "UP", *HEADINGS[2:]]


def started(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `sparsight` through a shell, which can close its output."""
    return subprocess.run(
        f'"{sys.executable}" -m simulator.cli {command}',
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_an_encoding_without_micro_writes_it_as_u() -> None:
    done = started(" ".join(COMPARE), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "377 us" in done.stdout


def test_columns_say_how_wide_a_pipe_is() -> None:
    done = started(" ".join(COMPARE), COLUMNS="80")
    assert max(map(len, done.stdout.splitlines())) <= 80
    wide = started(" ".join(COMPARE), COLUMNS="")
    assert max(map(len, wide.stdout.splitlines())) > 80


def test_units_stand_once_and_commands_as_they_are_written(sparsight) -> None:
    engine = sparsight("run", "bitweight", "--gemm", "64,64,64").out
    (area,) = (line.split() for line in engine.splitlines() if "um2" in line)
    assert (area[0], area[-1], area.count("um2")) == ("area", "um2", 1)
    assert "G_ACT" in sparsight("run", "neupims", "--requests", "alpaca:8").out


def test_a_closed_output_is_no_error() -> None:
    done = started("networks --json >&-")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("slow_s", [0.0, 0.3])
def test_work_is_announced_once_it_takes_a_while(monkeypatch, capsys, slow_s) -> None:
    in_terminal(monkeypatch, 80)
    monkeypatch.setattr(output, "BAR_AFTER_S", 0.1)
    with output.working("counting sheep"):
        time.sleep(slow_s)
    assert list(output.progress([1, 2])) == [1, 2]
    captured = capsys.readouterr()
    assert ("counting sheep" in captured.err) == (slow_s > 0)
    assert captured.out == ""
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())
