"""cocotb bench of a column array: writes a tile's operands while the one before runs."""

import cocotb
from cocotb.triggers import RisingEdge

from tests.cosim.bench_ports import begin, finish

LIMIT_CYCLES = 100_000


@cocotb.test()
async def tiles(dut) -> None:
    """Run tiles as close together as the array allows; the next one's writes come meanwhile.

    A tile has writes, one cycle each, and constants. Answers for each: the cycles of its start and
    of `ready`, and its results `wait` cycles after that, in the first cycle that may show them.
    """
    job = await begin(dut)
    queue, drain, wait = job["tiles"], job["drain"], job["wait"]
    answers: list[dict] = [{} for _ in queue]
    page, running, writes = 1, -1, list(queue[0]["writes"])
    due: dict[int, int] = {}
    earliest, ports = 0, {name for tile in queue for write in tile["writes"] for name in write}
    for now in range(LIMIT_CYCLES):
        beginning = not writes and now >= earliest and running + 1 < len(queue)
        for name in ports:
            getattr(dut, name).value = 0
        if beginning:
            running, page, earliest = running + 1, 1 - page, LIMIT_CYCLES
            for name, value in queue[running]["constants"].items():
                getattr(dut, name).value = value
            answers[running]["start"] = now
            if running + 1 < len(queue):
                writes = list(queue[running + 1]["writes"])
        elif writes:
            for name, value in writes.pop(0).items():
                getattr(dut, name).value = value
        dut.page.value = page
        dut.start.value = int(beginning)
        await RisingEdge(dut.clk)
        if running >= 0 and not beginning and "ready" not in answers[running] and dut.ready.value:
            answers[running]["ready"] = now
            earliest = now + max(drain - 1, 1)
            due[now + wait] = running
        if now in due:
            answers[due.pop(now)]["results"] = int(dut.results.value)
        if not due and "results" in answers[-1]:
            finish(answers)
            return
    raise AssertionError("a tile does not end")
