"""Instructions of the controller: one matrix product or one weight update each."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from amaranth.lib import data

from rtl.elaboration import address_bits
from rtl.sat.parameters import Parameters
from workloads.errors import InputError


class Opcode(IntEnum):
    """What an instruction does."""

    OUTPUT_STATIONARY = 0
    WEIGHT_STATIONARY = 1
    UPDATE = 2


COUNT_BITS = 16
TIME_BITS = 24


def instruction_layout(parameters: Parameters) -> data.StructLayout:
    """Return the fields of an instruction.

    Products: `kept` is N (1 if dense), `west_base`, `north_base`, `result_base` are bank
    addresses, `results` counts the results of one column, partial sums included, and `period` is
    the time from tiles to the next ones. Output stationary: `groups` G, `steps` G N, `tiles`,
    `q_tiles`. Weight stationary: `rows` P in `blocks` blocks of `block_rows`, the last of
    `last_rows` with `last_period`; `k_tiles` and `q_tiles` (strips of C columns).

    Update: `rows` K of `blocks` blocks of columns, one a lane, from `weight_base` on; `results` is
    their product. `kept` N and `group` M of both selections, stored from `forward_base` and
    `backward_base` on.
    """
    counts = (
        "groups",
        "steps",
        "tiles",
        "q_tiles",
        "k_tiles",
        "rows",
        "blocks",
        "block_rows",
        "last_rows",
    )
    return data.StructLayout(
        {
            "opcode": 2,
            "kept": parameters.n.bit_length(),
            "group": parameters.m.bit_length(),
            "west_base": address_bits(parameters.operand_words),
            "north_base": address_bits(parameters.operand_words),
            "result_base": address_bits(parameters.result_words),
            "weight_base": address_bits(parameters.weight_words),
            "forward_base": address_bits(parameters.weight_words),
            "backward_base": address_bits(parameters.weight_words),
            **dict.fromkeys(counts, COUNT_BITS),
            "results": TIME_BITS,
            "period": TIME_BITS,
            "last_period": TIME_BITS,
        }
    )


def encode(fields: Mapping[str, int], parameters: Parameters) -> int:
    """Pack an instruction; fields that are not named are zero. `InputError` if one does not fit."""
    layout = instruction_layout(parameters)
    word = 0
    for name, value in fields.items():
        if name not in dict(layout):
            raise InputError(f"an instruction has no field {name!r}")
        field = layout[name]
        if not 0 <= value < 1 << field.width:
            raise InputError(
                f"instruction field {name} must be below {1 << field.width}, not {value}; "
                "a larger build or a smaller product is needed"
            )
        word |= int(value) << field.offset
    return word
