"""What every output column means, with its unit: the text behind `sparsight explain`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from workloads.errors import InputError


@dataclass(frozen=True, slots=True)
class Term:
    """Unit and meaning of one column."""

    unit: str
    meaning: str


GLOSSARY: dict[str, Term] = {
    "name": Term("-", "Name of the operation, unique in its workload."),
    "layer": Term("-", "Layer of the network that the operation belongs to."),
    "pass": Term(
        "-", "FF forward, BP backward data, WU backward weight, UP weight update and selection."
    ),
    "kind": Term(
        "-", "What the operation is: conv, linear, attention, or the kind of vector work."
    ),
    "pattern": Term("-", "Sparsity pattern that the accelerator exploits; dense if none."),
    "m": Term("rows", "Rows of the streamed matrix of the product; 0 for other work."),
    "k": Term("elements", "Length of the reduction; 0 for other work."),
    "n": Term("columns", "Outputs per row; 0 for other work."),
    "batch": Term("products", "Independent products of this shape in the operation."),
    "cycles": Term("cycles", "Time from the start of the operation to its end."),
    "compute_cycles": Term(
        "cycles", "Time the compute array would need if memory were infinitely fast."
    ),
    "memory_cycles": Term("cycles", "Time the off-chip interface needs for the operation's bytes."),
    "useful_macs": Term("MACs", "Multiply-accumulates that the patterns leave."),
    "issued_macs": Term(
        "MACs", "Multiply slots used, zero padding of edges and incomplete groups included."
    ),
    "dram_bytes": Term("bytes", "Bytes over the off-chip interface, reads and writes."),
    "compulsory_bytes": Term(
        "bytes", "Bytes if every stored tensor moved once: the least any schedule can do."
    ),
    "sram_bytes": Term("bytes", "Bytes read from and written to the on-chip buffers."),
    "fill_cycles": Term(
        "cycles",
        "Part of compute_cycles in which the array is not at full rate: fill, drain, interleaving "
        "with too few tiles, weight loads.",
    ),
    "stall_cycles": Term("cycles", "Part of cycles in which the compute array waits for memory."),
    "hidden_cycles": Term(
        "cycles", "Work that runs behind another operation and is not counted in cycles."
    ),
    "utilisation": Term(
        "fraction", "Useful MACs over cycles x peak MACs per cycle; at most 1 by construction."
    ),
    "bottleneck": Term("-", "What bounds the operation's time, by name."),
    "stationarity": Term(
        "-", "Operand that stays in the array: os outputs, ws weights, is inputs."
    ),
    "energy_pj": Term("pJ", "Energy of the operation, all components."),
    "seconds": Term("s", "Cycles over the clock."),
    "energy_j": Term("J", "Energy of the whole workload, all components."),
}


def find(name: str) -> Term:
    """Return the term called `name`; raise `InputError` if there is none.

    >>> find("seconds").unit
    's'
    """
    if name not in GLOSSARY:
        near = difflib.get_close_matches(name, GLOSSARY, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "sparsight explain lists all terms"
        raise InputError(f"no output has a column called {name!r}; {hint}")
    return GLOSSARY[name]
