import numpy as np
import pytest

from dataflow.digits import encode, value_range
from rtl.bitweight.arrays import OutputStationary
from rtl.bitweight.bitslice import TermPairs
from rtl.bitweight.cube import Cube
from rtl.bitweight.dense import STYLES, Accumulator, dot_value
from rtl.bitweight.elements import ColumnFront, Opt3Element
from rtl.bitweight.encoders import Encoder, SparseEncoder
from rtl.bitweight.passing import WeightStationary
from rtl.bitweight.simd import SimdUnit
from rtl.bitweight.sparse import StepAccumulator, largest_reduction
from rtl.elaboration import pack
from rtl.synthesis.stimuli import digit_code, term_pairs
from tests.rtl.bitweight_words import play, signed
from workloads.errors import InputError

EXTREME = 40


def operands(rng: np.random.Generator, width: int, shape: tuple[int, ...]) -> np.ndarray:
    """Random operands that begin with the smallest value, EXTREME times, and then the largest."""
    low, high = value_range(width)
    drawn = rng.integers(low, high + 1, shape)
    drawn[:EXTREME] = low
    drawn[EXTREME : 2 * EXTREME] = high
    return drawn


@pytest.mark.parametrize("lanes", [2, 4, 8])
def test_a_sparse_encoder_emits_the_set_bits_of_every_mask(lanes: int) -> None:
    """All masks back to back: the next load comes with the last step."""
    encoder = SparseEncoder(lanes=lanes)
    seen = []

    async def probe(ctx) -> None:
        for mask in range(1 << lanes):
            ctx.set(encoder.mask, mask)
            ctx.set(encoder.load, 1)
            ctx.set(encoder.advance, 1)
            await ctx.tick()
            ctx.set(encoder.load, 0)
            steps = []
            while True:
                assert ctx.get(encoder.busy)
                steps.append(None if ctx.get(encoder.empty) else ctx.get(encoder.index))
                if ctx.get(encoder.last):
                    break
                await ctx.tick()
            seen.append(steps)
        await ctx.tick()
        assert not ctx.get(encoder.busy)

    from amaranth.sim import Simulator

    simulator = Simulator(encoder)
    simulator.add_clock(1e-6)
    simulator.add_testbench(probe)
    simulator.run()
    bits = [[i for i in range(lanes) if mask >> i & 1] for mask in range(1 << lanes)]
    assert seen == [own or [None] for own in bits]


@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize("style", STYLES)
def test_dot_products_are_exact_and_restart(style: str, width: int) -> None:
    rng = np.random.default_rng(width)
    count, acc = 200, 2 * width + 9
    a, b = operands(rng, width, (count,)), operands(rng, width, (count,))
    starts = (0, 100)
    element = Accumulator(width=width, acc_width=acc, style=style)
    names = ["total", "carry"] if style.startswith("opt1") else ["total"]
    pad = [0, 0]
    inputs = {
        "a": [*(a % (1 << width)), *pad],
        "b": [*(b % (1 << width)), *pad],
        "first": [*(t in starts for t in range(count)), *pad],
    }
    seen = play(element, inputs, names)
    for t in range(count):
        start = max(s for s in starts if s <= t)
        exact = int((a[start : t + 1] * b[start : t + 1]).sum())
        got = dot_value(
            seen["total"][t + 2],
            seen["carry"][t + 2] if len(names) > 1 else 0,
            terms=t + 1 - start,
            width=width,
            acc_width=acc,
            style=style,
        )
        assert got == exact, t


def test_the_pipelined_mac_is_one_cycle_later() -> None:
    rng = np.random.default_rng(0)
    a, b = operands(rng, 8, (100,)), operands(rng, 8, (100,))
    inputs = {
        "a": [*(a % 256), 0, 0, 0],
        "b": [*(b % 256), 0, 0, 0],
        "first": [1] + [0] * 102,
    }
    seen = play(Accumulator(pipelined=True), inputs, ["total"])
    assert [signed(word, 32) for word in seen["total"][3:]] == np.cumsum(a * b).tolist()


@pytest.mark.parametrize("segmented", [False, True])
def test_every_digit_times_every_operand_is_exact(segmented: bool) -> None:
    """The five codes and 256 operands, -2 x -128 = 256 among them."""
    element = StepAccumulator(segmented=segmented)
    pairs = [(digit, b) for digit in (-2, -1, 0, 1, 2) for b in range(-128, 128)]
    inputs = {
        "codes": [*(digit_code(digit) for digit, _ in pairs), 0, 0],
        "b": [*(b % 256 for _, b in pairs), 0, 0],
        "first": [1] * (len(pairs) + 2),
    }
    seen = play(element, inputs, ["total", "carry"])
    for t, (digit, b) in enumerate(pairs):
        value = seen["total"][t + 2] + seen["carry"][t + 2] - element.step_offset
        assert signed(value, element.acc_width) == digit * b


@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize("lanes", [1, 3, 4, 16])
@pytest.mark.parametrize("width", [4, 8, 16])
def test_sums_of_digits_are_exact_in_every_step(width: int, lanes: int, segmented: bool) -> None:
    """The extreme corner comes first: all digits -2 and all operands the smallest."""
    rng = np.random.default_rng(lanes)
    count, restart = 200, 140
    b = operands(rng, width, (count, lanes))
    digits = rng.integers(-2, 3, (count, lanes))
    digits[:EXTREME] = -2
    element = StepAccumulator(width=width, lanes=lanes, segmented=segmented)
    inputs = {
        "codes": [*(pack([digit_code(int(d)) for d in row], 3) for row in digits), 0, 0],
        "b": [*(pack(row, width) for row in b), 0, 0],
        "first": [t in (0, restart) for t in range(count + 2)],
    }
    seen = play(element, inputs, ["total", "carry"])
    for t in range(count):
        start = restart if t >= restart else 0
        value = seen["total"][t + 2] + seen["carry"][t + 2]
        value -= (t + 1 - start) * element.step_offset
        exact = int((digits[start : t + 1] * b[start : t + 1]).sum())
        assert signed(value, element.acc_width) == exact, t


@pytest.mark.parametrize("lanes", [4, 16])
def test_opt2_recodes_the_bits_of_equal_weight_itself(lanes: int) -> None:
    """The published tree overflows where all digits are -2 and all operands -128."""
    rng = np.random.default_rng(lanes)
    count = 120
    a, b = operands(rng, 8, (count, lanes)), operands(rng, 8, (count, lanes))
    a[:EXTREME] = -2
    element = StepAccumulator(lanes=lanes, triples=True)
    total = np.zeros(count, np.int64)
    for position in range(4):
        inputs = {
            "codes": [*(pack((row << 1) >> 2 * position & 7, 3) for row in a), 0, 0],
            "b": [*(pack(row, 8) for row in b), 0, 0],
            "first": [t == 0 for t in range(count + 2)],
        }
        seen = play(element, inputs, ["total", "carry"])
        pairs = zip(seen["total"][2:], seen["carry"][2:], strict=True)
        total += [signed(x + y, element.acc_width) << 2 * position for x, y in pairs]
    np.testing.assert_array_equal(total, np.cumsum((a * b).sum(axis=1)))


def test_the_longest_reduction_fits_and_one_more_does_not() -> None:
    longest = largest_reduction(8, 26)
    assert longest == 131_071
    assert longest * 256 < 1 << 25 <= (longest + 1) * 256


def groups_of(rng: np.random.Generator, terms: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(-60, 61, terms), rng.integers(-128, 128, terms)


def test_opt3_takes_the_steps_of_its_groups() -> None:
    rng = np.random.default_rng(5)
    a, b = groups_of(rng, 64)
    a[8:12] = 0  # an empty group costs a step
    digits = encode(a, "ent", 8)
    element = Opt3Element()
    for position in range(4):
        own = digits[:, position].reshape(-1, 4)
        steps = np.maximum((own != 0).sum(axis=1), 1)
        cycles = int(steps.sum()) + 3
        codes, factors, load = [0] * cycles, [0] * cycles, [0] * cycles
        starts = np.concatenate([[0], np.cumsum(steps)[:-1]])
        for start, group, bs in zip(starts, own, b.reshape(-1, 4), strict=True):
            codes[start] = pack([digit_code(int(d)) for d in group], 3)
            factors[start], load[start] = pack(bs, 8), 1
        inputs = {"codes": codes, "b": factors, "load": load, "first": [1] + [0] * (cycles - 1)}
        seen = play(element, inputs, ["total", "carry", "ready"])
        assert signed(seen["total"][-1] + seen["carry"][-1], 26) == int(digits[:, position] @ b)
        before = signed(seen["total"][-2] + seen["carry"][-2], 26)
        last = own[-1][np.flatnonzero(own[-1])[-1:]]
        if last.size:  # the last digit arrives in the last cycle, not earlier
            assert before != int(digits[:, position] @ b)
        assert all(seen["ready"][start] for start in starts)


def test_a_column_front_emits_the_digits_of_its_groups() -> None:
    rng = np.random.default_rng(6)
    a = rng.integers(-128, 128, 40)
    a[4:8] = 0
    for position in range(4):
        digits = encode(a, "ent", 8)[:, position].reshape(-1, 4)
        expected: list[int] = []
        values, load = [], []
        for group, own in zip(a.reshape(-1, 4), digits, strict=True):
            steps = [digit_code(int(d)) for d in own if d] or [0]
            values += [pack(group, 8)] + [0] * (len(steps) - 1)
            load += [1] + [0] * (len(steps) - 1)
            expected += steps
        cycles = len(values) + 3
        inputs = {
            "values": [*values, 0, 0, 0],
            "load": [*load, 0, 0, 0],
            "position": [position] * cycles,
        }
        assert play(ColumnFront(), inputs, ["code"])["code"][3:] == expected


def test_the_laconic_like_element_is_exact() -> None:
    element = TermPairs(lanes=4)
    rng = np.random.default_rng(8)
    a, b = operands(rng, 8, (100, 4)), operands(rng, 8, (100, 4))
    words = []
    for row, other in zip(a, b, strict=True):
        streams = [term_pairs(int(x), int(y), element) for x, y in zip(row, other, strict=True)]
        for step in range(max(map(len, streams))):
            lanes = [stream[step] if step < len(stream) else 0 for stream in streams]
            words.append(pack(lanes, element.lane_bits))
    inputs = {"terms": [*words, 0, 0, 0], "first": [1] + [0] * (len(words) + 2)}
    assert signed(play(element, inputs, ["total"])["total"][-1], 32) == int((a * b).sum())


def test_the_simd_unit_adds_weights_from_the_highest_down() -> None:
    unit = SimdUnit(acc_width=26, slots=2)
    sums = [(5, -3), (7, 100), (-2, 9), (1, -1)]  # two slots of two weights
    inputs = {
        "total": [*(total % (1 << 26) for total, _ in sums), 0, 0],
        "carry": [*(carry % (1 << 26) for _, carry in sums), 0, 0],
        "correction": [1] * 6,
        "slot": [0, 1, 0, 1, 0, 0],
        "first": [1, 1, 0, 0, 0, 0],
        "valid": [1, 1, 1, 1, 0, 0],
    }
    final = play(unit, inputs, ["results"])["results"][-1]
    weights = [[total + carry - 1 for total, carry in sums[slot::2]] for slot in (0, 1)]
    exact = [4 * high + low for high, low in weights]
    assert [signed(final >> 32 * slot, 32) for slot in (0, 1)] == exact


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Accumulator(width=7),
            "width must be an even number of bits from 4 to 16, not 7",
        ),
        (
            lambda: Accumulator(acc_width=9),
            "acc_width must lie in 10 to 64 bits for operands of 8 bits, not 9",
        ),
        (lambda: Accumulator(acc_width=12), "acc_width must be at least 16 bits, not 12"),
        (
            lambda: Accumulator(style="opt9"),
            "style must be one of naive, mac, opt1, opt1_offset, not 'opt9'",
        ),
        (
            lambda: Accumulator(style="opt1", pipelined=True),
            "only the style mac can be pipelined, not opt1",
        ),
        (lambda: Cube(size=2, acc_width=12), "acc_width must be at least 16 bits, not 12"),
        (
            lambda: WeightStationary(rows=2, cols=2, width=20),
            "width must be an even number of bits from 4 to 16, not 20",
        ),
        (
            lambda: OutputStationary(rows=2, cols=2, width=6, acc_width=11),
            "acc_width must be at least 12 bits, not 11",
        ),
        (
            lambda: SimdUnit(acc_width=0),
            "acc_width of a SIMD unit must lie in 1 to 64, not 0",
        ),
        (
            lambda: SimdUnit(acc_width=26, slots=0),
            "slots of a SIMD unit must be at least 1, not 0",
        ),
        (lambda: StepAccumulator(lanes=0), "lanes of an element must lie in 1 to 64, not 0"),
        (
            lambda: StepAccumulator(acc_width=11, segmented=True),
            "acc_width of a segmented element must be at least 13 bits, not 11",
        ),
        (lambda: TermPairs(lanes=0), "lanes of an array must lie in 1 to 256, not 0"),
        (lambda: SparseEncoder(lanes=1), "lanes of a sparse encoder must lie in 2 to 16, not 1"),
        (lambda: Encoder(scheme="csd"), "scheme of an encoder must be booth or ent, not 'csd'"),
    ],
)
def test_impossible_parameters_are_refused(make, message: str) -> None:
    with pytest.raises(InputError) as error:
        make()
    assert str(error.value) == message
