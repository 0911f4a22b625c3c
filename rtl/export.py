"""Verilog text of a component, with modules that occur many times written once."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from amaranth.hdl import ClockSignal, Elaboratable, Instance, ResetSignal
from amaranth.lib import wiring

from rtl.elaboration import owned
from workloads.errors import InputError
from workloads.files import file_named, write_whole


class VerilogExport:
    """The platform of an export: components that ask for it become instances of one module.

    Amaranth alone writes a module for every instance, which makes an array's text, and the time
    to compile it, grow with its area.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._modules: dict[str, str] = {}

    def instance(self, component: wiring.Component, name: str) -> Instance:
        """Return an instance of the module `name`, which is written when first asked for."""
        module = f"{self._prefix}_{name}"
        if module not in self._modules:
            self._modules[module] = _netlist(component, module, self)
        owned(component)  # its instance stands for it
        connections = {
            f"{'i' if member.flow == wiring.In else 'o'}_{'__'.join(map(str, path))}": signal
            for path, member, signal in component.signature.flatten(component)
        }
        if re.search(r" input \d+ +\\clk\n", _top_module(self._modules[module], module)):
            connections |= {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        return Instance(module, **connections)

    def text(self, component: wiring.Component) -> str:
        """Return the Verilog of `component` with all the modules it instantiates."""
        top = _netlist(component, self._prefix, self)
        text = _verilog("\n".join([*self._modules.values(), top]))
        return _start_combinational_blocks(_loop_over_zeros(text))


def shared(component: wiring.Component, name: str, platform: object) -> Elaboratable:
    """Return what to add as a submodule: `component` itself, or its instance in an export.

    `name` must stand for the component's class and parameters.
    """
    if isinstance(platform, VerilogExport):
        return platform.instance(component, name)
    return component


def verilog_text(component: wiring.Component, *, name: str) -> str:
    """Return the Verilog of `component` as a module called `name`; other modules begin with it.

    Source positions are left out: the text depends on the circuit only. Raises `InputError` if
    `name` is no identifier, or one that Verilog or SystemVerilog keeps for itself.
    """
    owned(component)  # also if the name is refused
    if not re.fullmatch(r"[a-zA-Z_]\w*", name, re.ASCII):
        raise InputError(f"module name must be a Verilog identifier, not {name!r}")
    text = VerilogExport(name).text(component)
    if f"\nmodule \\{name} (" in text:  # yosys escapes what is a keyword
        raise InputError(f"module name must not be a keyword of Verilog, as {name!r} is")
    return text


def _top_module(netlist: str, name: str) -> str:
    """Return the part of the netlist that declares the module `name`."""
    return netlist[netlist.index(f"module \\{name}\n") :].split("\nend\n", 1)[0]


def _loop_over_zeros(text: str) -> str:
    """Replace a line per zeroed memory word, which slows compilers down, by one loop."""

    def loop(block: re.Match[str]) -> str:
        name, words = block["name"], block[0].count(";\n")
        return (
            f"  integer {name}_word;\n"
            f"  initial for ({name}_word = 0; {name}_word < {words}; "
            f"{name}_word = {name}_word + 1)\n    {name}[{name}_word] = 0;\n"
        )

    zeros = r"  initial begin\n(?:    (?P<name>\w+)\[\d+\] = \d+'[dh]0+;\n)+  end\n"
    return re.sub(zeros, loop, text)


def _start_combinational_blocks(text: str) -> str:
    """Let every `always @*` run once at time 0, also in Icarus Verilog 11.

    Yosys writes a dummy register into each block, whose initial value is to start it; Icarus sets
    that value before the block waits for it. A non-blocking assignment comes after all waits.
    """
    dummy = r"  reg (\\\$auto\$verilog_backend\S+) += 0;\n"
    return re.sub(dummy, r"  reg \1 ;\n  initial \1 <= 0;\n", text)


def _netlist(component: wiring.Component, name: str, platform: VerilogExport) -> str:
    """Return the component as RTLIL, the netlist language of Yosys."""
    from amaranth.back import rtlil

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return str(rtlil.convert(component, name=name, platform=platform, emit_src=False))


def _verilog(netlist: str) -> str:
    """Translate RTLIL in one run of Yosys, as `amaranth.back.verilog` does for one component."""
    from amaranth._toolchain.yosys import find_yosys

    removed = ("generator", "top", "src", "amaranth.hierarchy", "amaranth.decoding")
    attributes = " ".join(f"-remove {name}" for name in removed)
    script = [
        f"read_rtlil <<rtlil\n{netlist}\nrtlil",
        "proc -nomux -norom",
        "memory_collect",
        f"attrmap {attributes}",
        f"attrmap -modattr {attributes}",
        "write_verilog -norename",
    ]
    yosys = find_yosys(lambda version: version >= (0, 40))
    return str(yosys.run(["-q", "-"], "\n".join(script), ignore_warnings=True))


def write_verilog(component: wiring.Component, *, name: str, path: Path) -> None:
    """Write the Verilog of `component` to `path`, whole or not at all."""
    file_named(path)
    write_whole({path: verilog_text(component, name=name).encode()})
