"""cocotb bench: sets ports cycle by cycle and records others, or streams beats through."""

import json
import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from tests.cosim.bench_sat import LIMIT_CYCLES, send


async def begin(dut) -> dict:
    job = json.loads(Path(os.environ["UNIT_JOB"]).read_text())
    Clock(dut.clk, 2, "step").start()
    for name in job["zero"]:
        getattr(dut, name).value = 0
    dut.rst.value = 1
    for _ in range(2):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    return job


def finish(answers) -> None:
    Path(os.environ["UNIT_ANSWERS"]).write_text(json.dumps(answers))


@cocotb.test()
async def drive(dut) -> None:
    """Set ports after the edge that begins a cycle, read just before the one that ends it."""
    job = await begin(dut)
    answers = []
    for values in job["stimulus"]:
        for name, value in values.items():
            getattr(dut, name).value = value
        await RisingEdge(dut.clk)
        answers.append({name: int(getattr(dut, name).value) for name in job["watch"]})
    finish(answers)


@cocotb.test()
async def stream(dut) -> None:
    """Send all beats, take as many as are wanted; both sides stall at random."""
    job = await begin(dut)
    for name, value in job["constants"].items():
        getattr(dut, name).value = value
    chance = random.Random(job["seed"])
    source, sink, stall = job["source"], job["sink"], job["stall"]
    ports = [getattr(dut, f"{source}__{part}") for part in ("valid", "ready", "payload")]
    cocotb.start_soon(send(dut.clk, *ports, job["beats"], stall, chance))
    valid, ready, payload = (getattr(dut, f"{sink}__{x}") for x in ("valid", "ready", "payload"))
    taken, cycle = [], 0
    while len(taken) < job["wanted"]:
        willing = not stall or chance.random() >= stall
        ready.value = int(willing)
        await RisingEdge(dut.clk)
        if willing and valid.value == 1:
            taken.append((cycle, int(payload.value)))
        cycle += 1
        assert cycle < LIMIT_CYCLES, "the stream does not end"
    finish(taken)
