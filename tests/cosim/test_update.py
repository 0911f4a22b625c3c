"""Weight update and re-selection on the emitted accelerator, bit for bit and cycle for cycle."""

import numpy as np

from dataflow import nm
from rtl.sat import host
from rtl.sat.controller import OVERHEAD_CYCLES
from rtl.sat.instructions import encode
from rtl.sat.job import read_compact, read_state, write_settings, write_state
from rtl.sat.parameters import Parameters
from rtl.sat.top import Space
from rtl.sat.vector import tail_cycles
from tests.cosim.sat_model import SMALL, TINY, Case, build, run
from tests.cosim.sat_update import Sgd, settings, take_compact, take_state
from workloads import NM

DECAYING = Sgd(decay=np.float32(5e-4))


def update_case(number: int, update: host.Update, sgd: Sgd, state) -> Case:
    case = Case(name=f"update {number}", stall=0.3 * (number % 2), seed=number)
    for space, matrix in zip((Space.WEIGHT, Space.MOMENTUM, Space.GRADIENT), state, strict=True):
        write_state(case, space, update, matrix, base=0)
    write_settings(case, **settings(sgd))
    case.write(Space.PLAN, 0, 0, encode(update.instruction, update.parameters))
    case.write(Space.START, 0, 0, 1)
    read_state(case, Space.WEIGHT, update, base=0)
    read_state(case, Space.MOMENTUM, update, base=0)
    read_compact(case, update, 0, 0)
    return case


def with_ties(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Few distinct magnitudes of both signs, so that most groups have ties."""
    return rng.choice(np.array([-2, -1, -0.5, -0.0, 0, 0.5, 1, 2], np.float32), shape)


def test_updates_and_both_selections_equal_numpy(verilator, runs) -> None:
    parameters: Parameters = SMALL
    rng = np.random.default_rng(5)
    work = []
    for number, (shape, pattern) in enumerate(
        [
            ((16, 16), NM(2, 8)),
            ((20, 40), NM(2, 4)),
            ((33, 7), NM(4, 8)),
            ((17, 18), NM(2, 16)),
            ((9, 9), NM(1, 4)),
            ((4, 33), NM(1, 4)),
        ]
    ):
        sgd = (Sgd(), DECAYING)[number // 2 % 2]
        make = with_ties if number % 3 == 2 else rng_normal
        state = [make(rng, shape) for _ in range(3)]
        work.append((host.Update(shape=shape, pattern=pattern, parameters=parameters), sgd, state))
    cases = [update_case(number, *item) for number, item in enumerate(work)]
    model = build(parameters, "verilator")
    for (update, sgd, state), answer in zip(work, run(model, cases, runs), strict=True):
        weight, momentum = sgd.step(*state)
        got_weight, words = take_state(answer.words, update)
        got_momentum, words = take_state(words, update)
        forward, backward, _ = take_compact(words, update)
        half = weight.astype(np.float16)
        assert same_bits(got_weight, weight)
        assert same_bits(got_momentum, momentum)
        for got, want in (
            (forward, nm.compress(half, update.pattern)),
            (backward, nm.compress(half.T, update.pattern)),
        ):
            assert same_bits(got.values, want.values)
            assert np.array_equal(got.indices, want.indices)
        assert answer.total == update.rows * update.blocks * sgd.lane_operations
        tail = tail_cycles(parameters, decays=sgd.decays)
        assert answer.elapsed == answer.total + OVERHEAD_CYCLES + tail


def test_weights_that_are_loaded_during_an_update_are_kept(icarus, runs) -> None:
    """Another layer's state enters the banks while updated weights go back into them."""
    rng = np.random.default_rng(6)
    pattern, words = NM(2, 4), TINY.weight_words
    update = host.Update(shape=(words // 2, TINY.lanes), pattern=pattern, parameters=TINY)
    first, second = ([rng_normal(rng, update.shape) for _ in range(3)] for _ in range(2))
    spaces = (Space.WEIGHT, Space.MOMENTUM, Space.GRADIENT)
    case = Case(name="two layers")
    write_settings(case, **settings(Sgd()))
    for space, matrix in zip(spaces, first, strict=True):
        write_state(case, space, update, matrix, base=0)
    case.write(Space.PLAN, 0, 0, encode(update.instruction, TINY))
    case.write(Space.START, 0, 0, 1)
    for space, matrix in zip(spaces, second, strict=True):
        write_state(case, space, update, matrix, base=words // 2)
    for base in (0, words // 2):
        for space in (Space.WEIGHT, Space.MOMENTUM):
            read_state(case, space, update, base)
    (answer,) = run(build(TINY, "icarus"), [case], runs)
    found = answer.words
    for want in (*Sgd().step(*first), *second[:2]):
        got, found = take_state(found, update)
        assert same_bits(got, want)


def rng_normal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def same_bits(got: np.ndarray, want: np.ndarray) -> bool:
    return got.shape == want.shape and got.tobytes() == want.tobytes()
