"""What can be generated: a name, a sentence, parameters with defaults, and a component."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, get_type_hints

from amaranth.lib import wiring

from dataflow.hash_unit import HashUnit
from rtl.float import Float16Multiply, Float32Add, Float32Multiply
from rtl.float.parts import check_latency
from rtl.hash import HashAccumulate
from rtl.pim import BankController, Channel, CommandGate, PimUnit
from rtl.pim.parameters import ChannelParameters
from rtl.pim.parameters import UnitParameters as PimUnitParameters
from rtl.sat.parameters import Parameters
from rtl.sat.sore import Sore, check_selection
from rtl.sat.stce import Stce
from rtl.sat.top import Sat
from rtl.sat.uspe import Uspe
from rtl.sat.wuve import Wuve, check_lanes
from workloads.errors import InputError, nearest

MEASURED = Path(__file__).with_name("blocks.csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitParameters:
    """Parameters of a floating point unit: `latency` in cycles."""

    latency: int = 4

    def __post_init__(self) -> None:
        check_latency(self.latency)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionParameters:
    """Lanes, largest N and largest M of the selection engine."""

    lanes: int = 32
    n: int = 2
    m: int = 8

    def __post_init__(self) -> None:
        check_selection(lanes=self.lanes, n=self.n, m=self.m)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateParameters:
    """Lanes of the weight update engine."""

    lanes: int = 32

    def __post_init__(self) -> None:
        check_lanes(self.lanes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A component that can be generated.

    `timing` states latency and throughput. `parameters` are the defaults of a dataclass whose
    fields can be set, `make` builds the component from it.
    """

    name: str
    summary: str
    timing: str
    parameters: Any
    make: Callable[[Any], wiring.Component]


def _bitweight() -> Iterator[Design]:
    """Yield the bit-weight designs, whose parameters are all whole numbers."""
    from rtl.synthesis.designs import DESIGNS as synthesised

    for design in synthesised.values():
        fields = [(name, int, default) for name, default in design.parameters.items()]
        parameters = dataclasses.make_dataclass(f"{design.name}_parameters", fields, frozen=True)
        yield Design(
            name=design.name,
            summary=design.summary,
            timing=design.timing,
            parameters=parameters(),
            make=partial(_make_bitweight, design),
        )


def _make_bitweight(design: Any, parameters: Any) -> wiring.Component:
    component: wiring.Component = design.component(**dataclasses.asdict(parameters))
    return component


DESIGNS = (
    Design(
        name="sat",
        summary="N:M training accelerator: controller, array, buffers, selection, update",
        timing="3 cycles an instruction; products as `simulate` says",
        parameters=Parameters(),
        make=Sat,
    ),
    Design(
        name="stce",
        summary="systolic array of sparse PEs, output or weight stationary",
        timing="a step of all PEs a cycle",
        parameters=Parameters(),
        make=Stce,
    ),
    Design(
        name="uspe",
        summary="sparse PE: one multiply-accumulate a cycle, dense or N:M",
        timing="mul_latency + add_latency cycles; 1 MAC a cycle",
        parameters=Parameters(),
        make=Uspe,
    ),
    Design(
        name="sore",
        summary="N:M selection of streams",
        timing="M cycles a group and lane, then 1",
        parameters=SelectionParameters(),
        make=lambda p: Sore(lanes=p.lanes, n=p.n, m=p.m),
    ),
    Design(
        name="wuve",
        summary="SGD with momentum and weight decay in fp32, fp16 copy",
        timing="14 cycles, 21 with decay; an element and lane in 2 cycles, 3 with decay",
        parameters=UpdateParameters(),
        make=lambda p: Wuve(lanes=p.lanes),
    ),
    Design(
        name="fp16-multiply",
        summary="fp16 x fp16, exact in fp32",
        timing="latency cycles; 1 a cycle",
        parameters=UnitParameters(latency=2),
        make=lambda p: Float16Multiply(latency=p.latency),
    ),
    Design(
        name="fp32-add",
        summary="fp32 + fp32, round to nearest even",
        timing="latency cycles; 1 a cycle",
        parameters=UnitParameters(latency=4),
        make=lambda p: Float32Add(latency=p.latency),
    ),
    Design(
        name="fp32-multiply",
        summary="fp32 x fp32, round to nearest even",
        timing="latency cycles; 1 a cycle",
        parameters=UnitParameters(latency=3),
        make=lambda p: Float32Multiply(latency=p.latency),
    ),
    Design(
        name="hash_accumulate",
        summary="banked hash table that adds int32 or fp32 values by key, with a drain",
        timing="an update in 3 cycles; a probe of each bank in 2",
        parameters=HashUnit(),
        make=HashAccumulate,
    ),
    Design(
        name="pim_unit",
        summary="16 fp16 multipliers, fp32 adder tree and sum of a PIM bank",
        timing="log2(lanes) + 2 cycles; one COMP a cycle",
        parameters=PimUnitParameters(),
        make=lambda p: PimUnit(lanes=p.lanes),
    ),
    Design(
        name="pim_bank",
        summary="timers and row buffers of a DRAM bank: which commands it may take",
        timing="a command is in force a cycle later",
        parameters=ChannelParameters(),
        make=lambda p: BankController(timing=p.dram, dual=bool(p.dual)),
    ),
    Design(
        name="pim_gate",
        summary="command bus of a channel: every constraint of the timing table",
        timing="a command is accepted in the cycle in which it may issue; 1 a cycle",
        parameters=ChannelParameters(),
        make=lambda p: CommandGate(timing=p.dram, dual=bool(p.dual)),
    ),
    Design(
        name="pim_channel",
        summary="channel of PIM banks: sequencer, command bus, cells, multipliers",
        timing="clocks of the simulator's controller; sums read_delay after READRES",
        parameters=ChannelParameters(),
        make=Channel,
    ),
    *_bitweight(),
)


def find(name: str) -> Design:
    """Return the design called `name`; raise `InputError` if there is none."""
    names = [design.name for design in DESIGNS]
    for design in DESIGNS:
        if design.name == name:
            return design
    hint = nearest(name, names)
    raise InputError(f"no design is called {name!r}; {hint}")


def with_settings(design: Design, settings: Mapping[str, str]) -> Any:
    """Return the design's parameters with fields replaced by values read from text.

    >>> with_settings(find("sat"), {"rows": "8"}).rows
    8
    """
    fields = [field.name for field in dataclasses.fields(design.parameters)]
    types = get_type_hints(type(design.parameters))
    changes: dict[str, Any] = {}
    for name, text in settings.items():
        if name not in fields:
            hint = nearest(name, fields, f"it has {', '.join(fields)}")
            raise InputError(f"design {design.name} has no parameter {name!r}; {hint}")
        if types[name] is not int:
            changes[name] = text
            continue
        try:
            changes[name] = int(text)
        except ValueError:
            raise InputError(f"{name} must be a whole number, not {text!r}") from None
    return dataclasses.replace(design.parameters, **changes)


@cache
def measured() -> dict[str, dict[str, str]]:
    """Return the rows of `blocks.csv` by design: Verilog lines, cells and flip-flops at defaults.

    `tests/rtl/test_designs.py` measures them again.
    """
    with MEASURED.open(newline="") as file:
        return {row["design"]: row for row in csv.DictReader(file)}
