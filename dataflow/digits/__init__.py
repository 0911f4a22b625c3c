"""Digits of integers: the encodings whose non-zero digits are the work of bit-weight engines."""

from dataflow.digits.encodings import (
    ENCODINGS,
    check_values,
    check_width,
    decode,
    digit_count,
    encode,
    value_range,
)
from dataflow.digits.quantise import Quantised, quantise
from dataflow.digits.statistics import (
    DigitStatistics,
    digit_statistics,
    group_steps_mean,
    mean_digits,
    normal_mean,
    normal_pmf,
    uniform_mean,
    uniform_pmf,
)
from dataflow.digits.tables import nonzero_counts, position_table

__all__ = [
    "ENCODINGS",
    "DigitStatistics",
    "Quantised",
    "check_values",
    "check_width",
    "decode",
    "digit_count",
    "digit_statistics",
    "encode",
    "group_steps_mean",
    "mean_digits",
    "nonzero_counts",
    "normal_mean",
    "normal_pmf",
    "position_table",
    "quantise",
    "uniform_mean",
    "uniform_pmf",
    "value_range",
]
