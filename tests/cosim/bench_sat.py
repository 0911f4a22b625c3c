"""cocotb bench of the accelerator: executes a job file, writes what the hardware answered.

A job is a list of cases; a case has the words to load, the number of instructions to run and the
words to fetch. Streams are stalled at random with the case's `stall` probability.
"""

import json
import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

LIMIT_CYCLES = 100_000


@cocotb.test()
async def run_job(dut) -> None:
    job = await begin(dut)
    finish([await run_case(dut, case) for case in job])


async def begin(dut):
    """Reset the accelerator, its streams idle; return the job."""
    Clock(dut.clk, 2, "step").start()
    dut.load__valid.value = dut.fetch__valid.value = dut.result__ready.value = 0
    dut.rst.value = 1
    for _ in range(3):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    return json.loads(Path(os.environ["SAT_JOB"]).read_text())


def finish(answers) -> None:
    Path(os.environ["SAT_ANSWERS"]).write_text(json.dumps(answers))


async def run_case(dut, case) -> dict:
    chance = random.Random(case["seed"])
    await load(dut, case["load"], case["stall"], chance)
    for _ in range(LIMIT_CYCLES):
        await RisingEdge(dut.clk)
        if dut.idle.value == 1:
            break
    else:
        raise AssertionError(f"the plan of case {case['name']} does not end")
    total, elapsed = int(dut.total.value), int(dut.elapsed.value)
    taker = cocotb.start_soon(take(dut, len(case["fetch"]), case["stall"], chance))
    await fetch(dut, case["fetch"], case["stall"], chance)
    return {"total": total, "elapsed": elapsed, "words": await taker}


async def load(dut, words, stall, chance) -> None:
    await send(dut.clk, dut.load__valid, dut.load__ready, dut.load__payload, words, stall, chance)


async def fetch(dut, words, stall, chance) -> None:
    await send(
        dut.clk, dut.fetch__valid, dut.fetch__ready, dut.fetch__payload, words, stall, chance
    )


async def send(clk, valid, ready, payload, words, stall, chance) -> None:
    for word in words:
        if stall and chance.random() < stall:
            valid.value = 0
            for _ in range(chance.randint(1, 3)):
                await RisingEdge(clk)
        valid.value = 1
        payload.value = word
        await RisingEdge(clk)
        while ready.value == 0:
            await RisingEdge(clk)
    valid.value = 0


async def take(dut, count, stall, chance) -> list[int]:
    words = []
    while len(words) < count:
        ready = not stall or chance.random() >= stall
        dut.result__ready.value = int(ready)
        await RisingEdge(dut.clk)
        if ready and dut.result__valid.value == 1:
            words.append(int(dut.result__payload.value))
    dut.result__ready.value = 0
    return words
