"""Encoders of every width and elements of every engine as Verilog, on all their operands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Array, Cat, Const, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from dataflow.digits import encode, value_range
from rtl.bitweight.dense import STYLES, Accumulator, is_carry_save, step_offset
from rtl.bitweight.encoders import SCHEMES, Encoder
from rtl.bitweight.sparse import StepAccumulator
from rtl.elaboration import delayed, unpack
from tests.cosim.simulators import build_batch, emit

WIDTHS = range(4, 17, 2)
OPERANDS = (4, 8)
LATENCY = 2
STEPS = {
    "opt2": {"triples": True},
    "opt4c": {},
    "opt4c_seg": {"segmented": True},
    "opt4e": {"lanes": 4},
    "opt4e_seg": {"lanes": 4, "segmented": True},
}
"""Elements that add digits; only lane 1 of several has work."""


def places() -> dict[tuple, int]:
    """Return the word of every output: codes, and (total, carry) of products and digits."""
    names: list[tuple] = [(scheme, width) for width in WIDTHS for scheme in SCHEMES]
    for width in OPERANDS:
        names += [(style, width, part) for style in STYLES for part in ("total", "carry")]
        names += [(step, width, part) for step in STEPS for part in ("total", "carry")]
    return {name: word for word, name in enumerate(names)}


class Everything(wiring.Component):
    """All encoders on the low bits of `value`, all elements on its two low halves or bytes.

    Elements that add digits take digit `digit` of A. Every output is sign extended to 32 bits, two
    cycles after its value.
    """

    def __init__(self) -> None:
        super().__init__({"value": In(16), "digit": In(2), "words": Out(32 * len(places()))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words: dict[tuple, Value] = {}
        for width in WIDTHS:
            for scheme in SCHEMES:
                encoder = Encoder(width=width, scheme=scheme)
                m.submodules[f"{scheme}_{width}"] = encoder
                m.d.comb += encoder.value.eq(self.value[:width])
                words[scheme, width] = delayed(
                    m, encoder.codes, LATENCY, name=f"{scheme}_{width}_late"
                )
        for width in OPERANDS:
            a, b = self.value[:width], self.value[width : 2 * width]
            self._products(m, a, b, words)
            self._digits(m, a, b, words)
        for name, at in places().items():
            word = words[name]
            wide = word if name[0] in SCHEMES else word.as_signed()
            m.d.comb += self.words[32 * at : 32 * at + 32].eq(wide)
        return m

    def _products(self, m: Module, a: Value, b: Value, words: dict) -> None:
        width = len(a)
        for style in STYLES:
            element = Accumulator(style=style, width=width, acc_width=2 * width + 4)
            m.submodules[f"{style}_{width}"] = element
            m.d.comb += [element.a.eq(a), element.b.eq(b), element.first.eq(1)]
            words[style, width, "total"] = element.total
            words[style, width, "carry"] = (
                element.carry if is_carry_save(style) else Const(0, len(element.total))
            )

    def _digits(self, m: Module, a: Value, b: Value, words: dict) -> None:
        width = len(a)
        m.submodules[f"codes_{width}"] = encoder = Encoder(width=width)
        m.d.comb += encoder.value.eq(a)
        padded = Cat(Const(0, 1), a)
        triples = [padded[2 * digit : 2 * digit + 3] for digit in range(width // 2)]
        for step, parameters in STEPS.items():
            element = StepAccumulator(width=width, **parameters)
            m.submodules[f"{step}_{width}"] = element
            choices = triples if step == "opt2" else unpack(encoder.codes, 3)
            lane = 1 if element.lanes > 1 else 0
            m.d.comb += [
                element.codes.eq(Array(choices)[self.digit] << (3 * lane)),
                element.b.eq(b << (width * lane)),
                element.first.eq(1),
            ]
            words[step, width, "total"] = element.total
            words[step, width, "carry"] = element.carry


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint32]:
    """The words of all 65,536 values, (digits, values, words)."""
    verilog = emit(Everything, key="Everything", top="everything")
    harness = Path(__file__).parent / "harness" / "exhaustive.cpp"
    program = build_batch(verilog, top="everything", harness=harness)
    path = tmp_path_factory.mktemp("exhaustive") / "words.bin"
    subprocess.run([program, path], check=True)
    return np.fromfile(path, "<u4").reshape(4, 1 << 16, -1)


def number(low_bits: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Return the signed value of the low bits."""
    return (low_bits + (1 << (width - 1))) % (1 << width) - (1 << (width - 1))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_encoders_give_the_digits_of_every_value(answers, scheme: str, width: int) -> None:
    low, high = value_range(width)
    values = np.arange(low, high + 1)
    digits = encode(values, scheme, width).astype(np.int64)
    codes = (digits != 0) | (abs(digits) == 2) << 1 | (digits < 0) << 2
    words = (codes << 3 * np.arange(width // 2)).sum(axis=1)
    shown = answers[0, values % (1 << 16), places()[scheme, width]]
    np.testing.assert_array_equal(shown, words)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("width", OPERANDS)
def test_all_products_of_dense_elements_are_exact(answers, style: str, width: int) -> None:
    """65,536 pairs at INT8, 256 at INT4."""
    pairs = np.arange(1 << (2 * width))
    a, b = number(pairs, width), number(pairs >> width, width)
    total, carry = (
        answers[0, pairs, places()[style, width, part]].astype(np.int64)
        for part in ("total", "carry")
    )
    bits = 2 * width + 4
    np.testing.assert_array_equal(number(total + carry - step_offset(width, style), bits), a * b)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("width", OPERANDS)
def test_all_products_of_digit_elements_are_exact(answers, step: str, width: int) -> None:
    """The sums of all digits, each at its weight; -2 x -128 = 256 is among them."""
    pairs = np.arange(1 << (2 * width))
    a, b = number(pairs, width), number(pairs >> width, width)
    lanes = STEPS[step].get("lanes", 1)
    offset = lanes << width if STEPS[step].get("segmented") else 0
    product = np.zeros(len(pairs), np.int64)
    for digit in range(width // 2):
        total, carry = (
            answers[digit, pairs, places()[step, width, part]].astype(np.int64)
            for part in ("total", "carry")
        )
        product += number(total + carry - offset, width + 18) << 2 * digit
    np.testing.assert_array_equal(product, a * b)
