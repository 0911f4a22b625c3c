"""Gates of a component without the tools of synthesis: bits, two-input gates, depth."""

from __future__ import annotations

import json
import re
import warnings
from functools import cache
from typing import Any

from amaranth.lib import wiring

LEVEL_GATES = 3
"""Two-input gates on the longest path of a full adder: carry = (a & b) | (a & c) | (b & c)."""


def netlist(component: wiring.Component, *commands: str) -> dict[str, Any]:
    """Return the flattened netlist, in which every cell is a gate or flip-flop of single bits."""
    from amaranth._toolchain.yosys import find_yosys
    from amaranth.back import rtlil

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        text = rtlil.convert(component, name="top", emit_src=False)
    script = [f"read_rtlil <<rtlil\n{text}\nrtlil", "hierarchy -top top", "proc", "flatten"]
    script += ["opt_clean", *(commands or ("simplemap", "opt_clean")), "json"]
    yosys = find_yosys(lambda version: version >= (0, 40))
    answer = yosys.run(["-"], "\n".join(script), ignore_warnings=True)
    found = re.search(r"^\{.*^\}", answer, re.M | re.S)
    assert found is not None, answer
    top: dict[str, Any] = json.loads(found[0])["modules"]["top"]
    return top


def depth(component: wiring.Component) -> int:
    """Return the gates on the longest path between ports and registers of a component."""
    driver = {}
    for cell in netlist(component)["cells"].values():
        if "DFF" in cell["type"]:
            continue
        ports, directions = cell["connections"], cell["port_directions"]
        inputs = [bit for port in ports if directions[port] == "input" for bit in ports[port]]
        for port in ports:
            if directions[port] == "output":
                assert len(ports[port]) == 1, f"{cell['type']} is not a gate of single bits"
                driver[ports[port][0]] = inputs

    @cache
    def level(bit: int | str) -> int:
        if bit not in driver:
            return 0
        return 1 + max(level(each) for each in driver[bit])

    return max((level(bit) for bit in driver), default=0)
