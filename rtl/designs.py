"""What can be generated: a name, a sentence, parameters with defaults, and a component."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from amaranth.lib import wiring

from dataflow.hash_unit import HashUnit
from rtl import settings
from rtl.bitweight.tiles import multiply_tiles
from rtl.float import Float16Multiply, Float32Add, Float32Multiply
from rtl.float.parts import check_latency
from rtl.hash import HashAccumulate
from rtl.hash.stimulus import updates_and_drains
from rtl.pim import BankController, Channel, CommandGate, PimUnit
from rtl.pim.parameters import ChannelParameters, UnitParameters
from rtl.pim.stimulus import multiply_rows, offer_commands
from rtl.sat.parameters import Parameters
from rtl.sat.sore import Sore, check_selection
from rtl.sat.stce import Stce
from rtl.sat.stimulus import train
from rtl.sat.top import Sat
from rtl.sat.uspe import Uspe
from rtl.sat.wuve import Wuve, check_lanes
from rtl.stimulus import MakeStimulus
from rtl.synthesis.designs import DESIGNS as MAPPABLE

MEASURED = Path(__file__).with_name("blocks.csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatParameters:
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


@dataclass(frozen=True, slots=True)
class Design:
    """A component that can be generated.

    `timing` states latency and throughput. `parameters` are the defaults of a dataclass whose
    fields can be set, `make` builds the component from it. `stimulus` drives the component through
    its work where random bits would do none.
    """

    name: str
    summary: str
    timing: str
    parameters: Any
    make: Callable[[Any], wiring.Component]
    stimulus: MakeStimulus | None = None

    @property
    def module(self) -> str:
        """The name as a Verilog identifier: that of the top module, if none is given."""
        return self.name.replace("-", "_")


def _from_fields(kind: Callable[..., wiring.Component]) -> Callable[[Any], wiring.Component]:
    """Return what builds a component whose arguments are the fields of its parameters."""
    return lambda parameters: kind(**dataclasses.asdict(parameters))


def _of_a_table(kind: Callable[..., wiring.Component]) -> Callable[[Any], wiring.Component]:
    """Return what builds a part of a PIM channel that needs its timing and row buffers only."""
    return lambda parameters: kind(timing=parameters.dram, dual=bool(parameters.dual))


def _float_units() -> Iterator[Design]:
    """Yield the floating point units with the latencies that they have in an accelerator."""
    for name, kind, latency, summary in (
        ("fp16-multiply", Float16Multiply, 2, "fp16 x fp16, exact in fp32"),
        ("fp32-add", Float32Add, 4, "fp32 + fp32, round to nearest even"),
        ("fp32-multiply", Float32Multiply, 3, "fp32 x fp32, round to nearest even"),
    ):
        parameters = FloatParameters(latency=latency)
        yield Design(name, summary, "latency cycles; 1 a cycle", parameters, _from_fields(kind))


def _bitweight() -> Iterator[Design]:
    """Yield the bit-weight designs, whose parameters are all whole numbers."""
    for design in MAPPABLE.values():
        fields = [(name, int, default) for name, default in design.parameters.items()]
        parameters = dataclasses.make_dataclass(f"{design.name}_parameters", fields, frozen=True)
        make = _from_fields(design.component)
        stimulus = multiply_tiles if design.memories else None
        yield Design(design.name, design.summary, design.timing, parameters(), make, stimulus)


DESIGNS = (
    Design(
        "sat",
        "N:M training accelerator: controller, array, buffers, selection, update",
        "3 cycles an instruction; products as `simulate` says",
        Parameters(),
        Sat,
        train,
    ),
    Design(
        "stce",
        "systolic array of sparse PEs, output or weight stationary",
        "a step of all PEs a cycle",
        Parameters(),
        Stce,
    ),
    Design(
        "uspe",
        "sparse PE: one MAC a cycle, dense or N:M",
        "mul_latency + add_latency cycles; 1 MAC a cycle",
        Parameters(),
        Uspe,
    ),
    Design(
        "sore",
        "N:M selection of streams",
        "M cycles a group and lane, then 1",
        SelectionParameters(),
        _from_fields(Sore),
    ),
    Design(
        "wuve",
        "SGD with momentum and weight decay in fp32, fp16 copy",
        "14 cycles, 21 with decay; an element and lane in 2 cycles, 3 with decay",
        UpdateParameters(),
        _from_fields(Wuve),
    ),
    *_float_units(),
    Design(
        "hash_accumulate",
        "banked hash table that adds int32 or fp32 values by key, with a drain",
        "an update in 3 cycles; a probe of each bank in 2",
        HashUnit(),
        HashAccumulate,
        updates_and_drains,
    ),
    Design(
        "pim_unit",
        "16 fp16 multipliers, fp32 adder tree and sum of a PIM bank",
        "log2(lanes) + 2 cycles; one COMP a cycle",
        UnitParameters(),
        _from_fields(PimUnit),
    ),
    Design(
        "pim_bank",
        "timers and row buffers of a DRAM bank: which commands it may take",
        "a command is in force a cycle later",
        ChannelParameters(),
        _of_a_table(BankController),
    ),
    Design(
        "pim_gate",
        "command bus of a channel: every constraint of the timing table",
        "a command is accepted in the cycle in which it may issue; 1 a cycle",
        ChannelParameters(),
        _of_a_table(CommandGate),
        offer_commands,
    ),
    Design(
        "pim_channel",
        "channel of PIM banks: sequencer, command bus, cells, multipliers",
        "clocks of the simulator's controller; sums read_delay after READRES",
        ChannelParameters(),
        Channel,
        multiply_rows,
    ),
    *_bitweight(),
)


def find(name: str) -> Design:
    """Return the design called `name`; raise `InputError` if there is none."""
    known = {design.name: design for design in DESIGNS}
    if name not in known:
        raise settings.no_design(name, known)
    return known[name]


def with_settings(design: Design, texts: Mapping[str, str]) -> Any:
    """Return the design's parameters with fields replaced by values read from text.

    >>> with_settings(find("sat"), {"rows": "8"}).rows
    8
    """
    known = [field.name for field in dataclasses.fields(design.parameters)]
    settings.check_fields(design.name, texts, known)
    types = get_type_hints(type(design.parameters))
    changes = {
        name: settings.whole_number(name, text) if types[name] is int else text
        for name, text in texts.items()
    }
    return dataclasses.replace(design.parameters, **changes)


@cache
def measured() -> dict[str, dict[str, str]]:
    """Return the rows of `blocks.csv` by design: Verilog lines, cells and flip-flops at defaults.

    `tests/rtl/test_designs.py` measures them again.
    """
    with MEASURED.open(newline="") as file:
        return {row["design"]: row for row in csv.DictReader(file)}
