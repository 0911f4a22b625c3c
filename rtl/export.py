"""Verilog text of a component, with modules that occur many times written once."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from amaranth.hdl import ClockSignal, Elaboratable, Instance, ResetSignal
from amaranth.lib import wiring

from workloads.errors import InputError


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
            self._modules[module] = _convert(component, module, self)
        # Amaranth warns of components that are never elaborated; an instance stands for this one.
        component._MustUse__used = True
        connections = {
            f"{'i' if member.flow == wiring.In else 'o'}_{'__'.join(map(str, path))}": signal
            for path, member, signal in component.signature.flatten(component)
        }
        if re.search(r"\bclk\b", self._modules[module]):
            connections |= {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        return Instance(module, **connections)

    def text(self, component: wiring.Component) -> str:
        """Return the Verilog of `component` with all the modules it instantiates."""
        top = _convert(component, self._prefix, self)
        text = "\n".join([*self._modules.values(), top])
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

    Source positions are left out: the text depends on the circuit only.
    """
    if not re.fullmatch(r"[a-zA-Z_]\w*", name):
        raise InputError(f"module name must be a Verilog identifier, not {name!r}")
    return VerilogExport(name).text(component)


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


def _convert(component: wiring.Component, name: str, platform: VerilogExport) -> str:
    from amaranth.back import verilog

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return str(
            verilog.convert(
                component, name=name, platform=platform, strip_internal_attrs=True, emit_src=False
            )
        )


def write_verilog(component: wiring.Component, *, name: str, path: Path) -> None:
    """Write the Verilog of `component` to `path`, whole or not at all."""
    text = verilog_text(component, name=name)
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_text(text)
        partial.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
