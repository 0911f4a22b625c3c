"""The hash-accumulate unit: every port in every cycle as in the model, and no update lost."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import pytest

from dataflow.hash_unit import HashUnit
from rtl.hash import HashAccumulate
from simulator import _hash_unit_kernel, hash_unit
from simulator.hash_unit import Log, run
from tests.cosim.units import Unit
from workloads import InputError

LEVELS = ["amaranth", "icarus"]
SMALL = HashUnit(requesters=3, banks=2, slots=16, key_bits=8, hash_kind="low")
WATCHED = ["fill", "full", "drained", "entry__valid", "entry__payload"]


def ports(unit: HashUnit, streams, log: Log, start_drain, sink_ready) -> list[dict[str, int]]:
    """Turn the model's log into what the inputs are in every cycle."""
    stimulus = []
    for cycle in range(len(log.fill)):
        values = {"start_drain": int(cycle in start_drain), "entry__ready": int(sink_ready[cycle])}
        for requester, (keys, payload) in enumerate(streams):
            at = int(log.offered[cycle, requester])
            valid = int(log.valid[cycle, requester])
            values[f"update__{requester}__valid"] = valid
            word = keys[at] | payload[at] << unit.key_bits if valid else 0
            values[f"update__{requester}__payload"] = word
        stimulus.append(values)
    return stimulus


def expected(unit: HashUnit, log: Log) -> list[dict[str, int]]:
    answers = []
    for cycle in range(len(log.fill)):
        payload = int(log.entry_key[cycle]) | int(log.entry_value[cycle]) << unit.key_bits
        answers.append(
            {
                "fill": int(log.fill[cycle]),
                "full": int(log.full[cycle]),
                "drained": int(log.drained[cycle]),
                "entry__valid": int(log.entry_valid[cycle]),
                "entry__payload": payload if log.entry_valid[cycle] else 0,
            }
            | {f"update__{r}__ready": int(log.ready[cycle, r]) for r in range(unit.requesters)}
        )
    return answers


def check(unit: HashUnit, level: str, directory, streams, cycles: int, **options) -> Log:
    """Run model and hardware; compare every watched port in every cycle."""
    start_drain = options.get("start_drain", ())
    sink = options.setdefault("sink_ready", np.ones(cycles, dtype=np.uint8))
    log = run(unit, streams, cycles=cycles, **options)
    hardware = Unit(
        make=lambda: HashAccumulate(unit),
        top="hash_accumulate",
        key=str(unit),
        level=level,
        directory=directory,
    )
    watch = [*WATCHED, *(f"update__{r}__ready" for r in range(unit.requesters))]
    got = hardware.drive(ports(unit, streams, log, start_drain, sink), watch)
    for answer in got:
        answer["entry__payload"] *= answer["entry__valid"]
    for cycle, (ours, theirs) in enumerate(zip(expected(unit, log), got, strict=True)):
        assert ours == theirs, f"cycle {cycle}"
    return log


def stream(keys: list[int], rng: random.Random) -> tuple[list[int], list[int]]:
    return keys, [rng.randrange(1 << 31) for _ in keys]


def drained(log: Log, sink_ready=None) -> Counter[int]:
    """Sum what left the unit, by key."""
    taken = log.entry_valid.astype(bool)
    if sink_ready is not None:
        taken &= sink_ready.astype(bool)
    found: Counter[int] = Counter()
    for key, value in zip(log.entry_key[taken], log.entry_value[taken], strict=True):
        found[int(key)] = (found[int(key)] + int(value)) % 2**32
    return found


def sums(streams) -> dict[int, int]:
    total: Counter[int] = Counter()
    for keys, values in streams:
        for key, value in zip(keys, values, strict=True):
            total[key] = (total[key] + value) % 2**32
    return dict(total)


def adversarial(name: str, rng: random.Random) -> list[tuple[list[int], list[int]]]:
    lengths = range(SMALL.requesters)
    match name:
        case "random":
            return [stream([rng.randrange(12) for _ in range(12)], rng) for _ in lengths]
        case "all keys equal":
            return [stream([7] * 12, rng) for _ in lengths]
        case "all in one bank":
            return [stream([2 * rng.randrange(7) for _ in range(12)], rng) for _ in lengths]
        case "all collide":
            return [stream([16 * rng.randrange(10) for _ in range(12)], rng) for _ in lengths]
        case "exactly full":
            return [stream([(3 * i + r) % 16 for i in range(12)], rng) for r in lengths]
    raise AssertionError(name)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "name", ["random", "all keys equal", "all in one bank", "all collide", "exactly full"]
)
def test_every_update_ends_up_in_the_table_once(name, level, icarus, runs) -> None:
    streams = adversarial(name, random.Random(1))
    log = check(SMALL, level, runs, streams, 700, start_drain=[600])
    assert log.done_cycle < 600
    assert drained(log) == sums(streams)
    assert log.fill[600] == len(sums(streams))


@pytest.mark.parametrize("level", LEVELS)
def test_a_full_table_holds_updates_until_it_is_drained(level, icarus, runs) -> None:
    rng = random.Random(2)
    streams = [stream([rng.randrange(60) for _ in range(14)], rng) for _ in range(3)]
    pulses = [250, 500, 750, 1000]
    log = check(SMALL, level, runs, streams, 1200, start_drain=pulses)
    assert log.full[:250].any()
    assert log.fill.max() == SMALL.slots
    assert drained(log) == sums(streams)


@pytest.mark.parametrize("level", LEVELS)
def test_draining_between_inserts_loses_and_doubles_nothing(level, icarus, runs) -> None:
    """Drains at odd moments, a sink that stalls, and updates that are offered late."""
    rng = random.Random(3)
    streams = [stream([rng.randrange(14) for _ in range(15)], rng) for _ in range(3)]
    late = [sorted(rng.randrange(300) for _ in range(15)) for _ in range(3)]
    sink = np.array([rng.random() < 0.6 for _ in range(900)], dtype=np.uint8)
    pulses = [5, 8, 77, 160, 161, 251, 700]
    log = check(
        SMALL, level, runs, streams, 900, start_drain=pulses, sink_ready=sink, offered_from=late
    )
    assert drained(log, sink) == sums(streams)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", ["high", "multiplicative"])
def test_other_hashes_and_shapes(kind, level, icarus, runs) -> None:
    unit = HashUnit(requesters=5, banks=8, slots=32, key_bits=20, hash_kind=kind)
    rng = random.Random(4)
    streams = [stream([rng.randrange(1 << 20) for _ in range(6)], rng) for _ in range(5)]
    log = check(unit, level, runs, streams, 900, start_drain=[800])
    assert drained(log) == sums(streams)


@pytest.mark.parametrize("level", LEVELS)
def test_fp32_values_are_added_with_the_floating_point_adder(level, icarus, runs) -> None:
    unit = HashUnit(requesters=2, banks=2, slots=8, key_bits=6, kind="fp32", hash_kind="low")
    rng = np.random.default_rng(5)
    streams = [
        (rng.integers(6, size=12).tolist(), rng.standard_normal(12).astype(np.float32))
        for _ in range(2)
    ]
    bits = [(keys, values.view(np.uint32).tolist()) for keys, values in streams]
    log = check(unit, level, runs, bits, 300, start_drain=[200])
    taken = log.entry_valid.astype(bool)
    values = log.entry_value[taken].view(np.float32)
    found = dict(zip(log.entry_key[taken].tolist(), values.tolist(), strict=True))
    for key, value in found.items():
        exact = sum(
            float(v) for keys, vs in streams for k, v in zip(keys, vs, strict=True) if k == key
        )
        assert value == pytest.approx(exact, rel=1e-5, abs=1e-6)


def test_every_short_history_of_a_tiny_unit(tmp_path) -> None:
    """Two requesters, two updates each of any of three keys, a drain begun in any of six cycles.

    All 3**4 x 6 histories follow each other in one simulation; after each the table is drained.
    """
    unit = HashUnit(requesters=2, banks=2, slots=2, key_bits=2, hash_kind="low")
    length = 42
    streams: list[tuple[list[int], list[int]]] = [([], []), ([], [])]
    late: list[list[int]] = [[], []]
    pulses: list[int] = []
    histories = list(itertools.product(itertools.product(range(3), repeat=4), range(6)))
    for index, (keys, moment) in enumerate(histories):
        start = index * length
        for requester in range(2):
            mine = keys[2 * requester : 2 * requester + 2]
            streams[requester][0].extend(mine)
            streams[requester][1].extend(1 << (8 * (2 * requester + i)) for i in range(2))
            late[requester].extend([start, start])
        pulses += [start + moment, start + 20, start + 32]
    cycles = length * len(histories)
    log = check(unit, "amaranth", tmp_path, streams, cycles, start_drain=pulses, offered_from=late)
    for index, (keys, _) in enumerate(histories):
        window = slice(index * length, (index + 1) * length)
        taken = log.entry_valid[window].astype(bool)
        found: Counter[int] = Counter()
        for key, value in zip(
            log.entry_key[window][taken], log.entry_value[window][taken], strict=True
        ):
            found[int(key)] += int(value)
        wanted: Counter[int] = Counter()
        for position, key in enumerate(keys):
            wanted[key] += 1 << (8 * position)
        assert found == wanted, (keys, index)


def test_an_uncontended_update_takes_three_cycles() -> None:
    unit = HashUnit(requesters=1, banks=2, slots=8, key_bits=8, hash_kind="low")
    log = run(unit, [([1, 2, 3], [1, 1, 1])], cycles=12)
    accepted = np.flatnonzero((log.valid & log.ready)[:, 0])
    assert accepted.tolist() == [0, 3, 6]
    assert log.fill[[2, 3]].tolist() == [0, 1]


def test_a_bank_serves_a_probe_every_two_cycles_and_all_requesters_alike() -> None:
    """Four requesters on one key: a probe each in turns, two cycles apart."""
    unit = HashUnit(requesters=4, banks=4, slots=8, key_bits=8, hash_kind="low")
    log = run(unit, [([5] * 20, [1] * 20)] * 4, cycles=200)
    accepted = [np.flatnonzero((log.valid & log.ready)[:, r]) for r in range(4)]
    for cycles in accepted:
        assert np.diff(cycles)[2:].tolist() == [8] * 17


def test_the_interpreted_model_agrees_with_the_compiled_one(monkeypatch) -> None:
    streams = [([1, 5, 17, 5], [3, 4, 5, 6])] * 3
    compiled = run(SMALL, streams, cycles=200, start_drain=[100])
    monkeypatch.setattr(_hash_unit_kernel, "step_unit", _hash_unit_kernel.step_unit.py_func)
    interpreted = run(SMALL, streams, cycles=200, start_drain=[100])
    for name in hash_unit.Log.__slots__:
        assert np.array_equal(getattr(compiled, name), getattr(interpreted, name)), name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: HashUnit(banks=3), "banks must be a power of two from 2 on, not 3"),
        (lambda: HashUnit(banks=8, slots=4), "slots must be at least as many as the 8 banks"),
        (lambda: HashUnit(requesters=0), "requesters must be a positive whole number"),
        (lambda: HashUnit(kind="bf16"), "kind must be int32 or fp32, not 'bf16'"),
        (lambda: HashUnit(key_bits=0), "key bits of a hash must be from 1 to 64, not 0"),
        (lambda: HashUnit(hash_kind="best"), "hash must be one of high, low, multiplicative"),
        (lambda: run(SMALL, [], cycles=1), "there must be 3 streams, not 0"),
        (
            lambda: run(SMALL, [([256], [0]), ([], []), ([], [])], cycles=1),
            "keys must have at most 8 bits, not 256",
        ),
        (
            lambda: run(SMALL, [([1], [0]), ([1, 2], [0]), ([], [])], cycles=1),
            "stream 1 must hold a value for each of its 2 keys, not 1",
        ),
        (
            lambda: run(SMALL, [([1], [0])] * 3, cycles=1, offered_from=[[0], [0], []]),
            "offered_from must hold one cycle for each update of each stream",
        ),
        (
            lambda: run(SMALL, [([1], [0])] * 3, cycles=9, start_drain=[9]),
            "start_drain must lie in the 9 cycles, not at 9",
        ),
        (
            lambda: run(SMALL, [([1], [0])] * 3, cycles=9, sink_ready=np.ones(8, np.uint8)),
            "sink_ready must hold 9 cycles, not 8",
        ),
    ],
)
def test_units_and_runs_that_cannot_be_are_refused(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
