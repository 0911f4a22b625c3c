"""Drives a component the same way in Amaranth's simulator and, emitted, in Icarus Verilog."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.sim import Simulator

from rtl.elaboration import owned
from tests.cosim.simulators import build_icarus, emit, run_cocotb, source_of

LIMIT_CYCLES = 100_000


@dataclass(frozen=True)
class Unit:
    """A component at a level: `amaranth` simulates it, `icarus` its emitted Verilog.

    `key` names what `make` takes from elsewhere than its file and the component's.
    """

    make: Callable[[], wiring.Component]
    top: str
    key: str
    level: str
    directory: Path

    def drive(self, stimulus: list[dict[str, int]], watch: list[str]) -> list[dict[str, int]]:
        """Set ports in each cycle; return the watched ports as they are at the end of each."""
        if self.level == "amaranth":
            return self._simulate(_driver, stimulus, watch)
        return self._cocotb("drive", {"stimulus": stimulus, "watch": watch})

    def stream(
        self,
        beats: list[int],
        *,
        source: str,
        sink: str,
        wanted: int,
        constants: dict[str, int],
        stall: float = 0.0,
        seed: int = 0,
    ) -> list[tuple[int, int]]:
        """Send `beats`; return cycle and payload of the `wanted` beats that come out."""
        job = {
            "beats": beats,
            "source": source,
            "sink": sink,
            "wanted": wanted,
            "constants": constants,
            "stall": stall,
            "seed": seed,
        }
        if self.level == "amaranth":
            return self._simulate(_streamer, job)
        return [(cycle, beat) for cycle, beat in self._cocotb("stream", job)]

    def _simulate(self, bench: Callable[..., Any], *arguments: Any) -> Any:
        component = self.make()
        answers: list[Any] = []

        async def testbench(ctx: Any) -> None:
            await bench(ctx, _ports(component), answers, *arguments)

        simulator = Simulator(component)
        simulator.add_clock(1e-6)
        simulator.add_testbench(testbench)
        simulator.run()
        return answers

    def _cocotb(self, test: str, job: dict[str, Any]) -> Any:
        component = owned(self.make())  # if the Verilog is cached, only its ports are needed
        names = ["__".join(map(str, path)) for path, member, _ in _flat(component) if member]
        key = f"{self.key} {source_of(self.make)} {source_of(type(component))}"
        verilog = emit(lambda: component, key=key, top=self.top)
        model = build_icarus(verilog, top=self.top)
        source, answers = self.directory / "job.json", self.directory / "answers.json"
        source.write_text(json.dumps({**job, "zero": names}))
        run_cocotb(
            model,
            module="tests.cosim.bench_ports",
            test=test,
            environment={"UNIT_JOB": str(source), "UNIT_ANSWERS": str(answers)},
            directory=self.directory,
        )
        return json.loads(answers.read_text())


def _flat(component: wiring.Component) -> list[tuple[tuple[Any, ...], bool, Value]]:
    """Return path, whether it is an input, and value of every port."""
    return [
        (path, member.flow == wiring.In, Value.cast(value))
        for path, member, value in component.signature.flatten(component)
    ]


def _ports(component: wiring.Component) -> dict[str, Value]:
    return {"__".join(map(str, path)): value for path, _, value in _flat(component)}


async def _driver(
    ctx: Any, ports: dict[str, Value], answers: list, stimulus: list, watch: list[str]
) -> None:
    for values in stimulus:
        for name, value in values.items():
            ctx.set(ports[name], value)
        answers.append({name: ctx.get(ports[name]) for name in watch})
        await ctx.tick()


async def _streamer(ctx: Any, ports: dict[str, Value], answers: list, job: dict) -> None:
    for name, value in job["constants"].items():
        ctx.set(ports[name], value)
    chance, stall = random.Random(job["seed"]), job["stall"]
    source, sink = job["source"], job["sink"]
    beats = list(job["beats"])
    offering = False
    for cycle in range(LIMIT_CYCLES):
        # an offered beat stays until it is taken
        offering = bool(beats) and (offering or chance.random() >= stall)
        willing = chance.random() >= stall
        ctx.set(ports[f"{source}__valid"], offering)
        if beats:
            ctx.set(ports[f"{source}__payload"], beats[0])
        ctx.set(ports[f"{sink}__ready"], willing)
        if willing and ctx.get(ports[f"{sink}__valid"]):
            answers.append((cycle, ctx.get(ports[f"{sink}__payload"])))
        if offering and ctx.get(ports[f"{source}__ready"]):
            beats.pop(0)
            offering = False
        if len(answers) == job["wanted"]:
            return
        await ctx.tick()
    raise AssertionError("the stream does not end")
