"""Floating point units, bit-exact to numpy, pipelined with a stated latency.

All units share these rules (IEEE 754-2019, binary16 and binary32):

- round to nearest, ties to even; subnormal inputs and results are kept, nothing is flushed;
- every NaN result is the quiet NaN `0x7fc00000` (`0x7e00` in fp16). IEEE 754 leaves the payload
  open and numpy's depends on the processor, so comparisons map every NaN to this one first;
- one operation per cycle, no valid or ready: wrap a unit in `EnableInserter` to freeze it.
"""

from rtl.float.add import Float32Add
from rtl.float.convert import Float16To32, Float32To16
from rtl.float.multiply import Float16Multiply, Float32Multiply

__all__ = ["Float16Multiply", "Float16To32", "Float32Add", "Float32Multiply", "Float32To16"]
