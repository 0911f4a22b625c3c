"""A DRAM channel whose banks multiply: command bus, sequencer and multipliers.

`CommandGate` accepts commands by the table of `dataflow.dram_timing`, `PimUnit` computes as
`dataflow.pim_arithmetic`, `Channel` runs a PIM program with the cycles of `simulator.dram`.
"""

from rtl.pim.bank import BankController
from rtl.pim.channel import Channel
from rtl.pim.gate import CommandGate
from rtl.pim.unit import PimUnit

__all__ = ["BankController", "Channel", "CommandGate", "PimUnit"]
