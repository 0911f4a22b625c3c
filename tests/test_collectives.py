"""Collectives against step-by-step replays of what each device sends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import collectives
from simulator.collectives import Cluster, Link
from workloads import InputError

LINK = Link(bytes_per_s=1e9, latency_s=1e-6)
devices = st.integers(1, 17)
sizes = st.integers(1, 10**9)


def replay_ring_gather(count: int, total: float) -> float:
    """Every device passes on the part it got last, until all have all parts."""
    have = [{i} for i in range(count)]
    newest, seconds = list(range(count)), 0.0
    while any(len(parts) < count for parts in have):
        newest = [newest[i - 1] for i in range(count)]
        for parts, part in zip(have, newest, strict=True):
            parts.add(part)
        seconds += LINK.latency_s + total / count / LINK.bytes_per_s
    return seconds


def replay_ring_exchange(count: int, sent: float) -> float:
    """Send every message the short way, a tie half each way; count what the busiest link moves."""
    right, left = [0.0] * count, [0.0] * count
    for source in range(count):
        for distance in range(1, count):
            message = sent / count
            clockwise = 1.0 if 2 * distance < count else 0.5 if 2 * distance == count else 0.0
            for hop in range(distance):
                right[(source + hop) % count] += clockwise * message
            for hop in range(count - distance):
                left[(source - hop) % count] += (1 - clockwise) * message
    return max(right + left) / LINK.bytes_per_s


@given(devices, sizes)
def test_a_ring_gathers_in_as_many_steps_as_a_replay(count: int, total: int) -> None:
    ours = collectives.all_gather_seconds(LINK, count, total)
    assert ours == pytest.approx(replay_ring_gather(count, total))
    assert collectives.all_reduce_seconds(LINK, count, total) == pytest.approx(2 * ours)


@given(devices, sizes)
def test_an_exchange_on_a_ring_is_bound_by_its_busiest_link(count: int, sent: int) -> None:
    latency = count // 2 * LINK.latency_s
    ours = collectives.ring_all_to_all_seconds(LINK, count, sent)
    assert ours - latency == pytest.approx(replay_ring_exchange(count, sent))


@given(st.integers(2, 17), sizes)
def test_an_exchange_among_all_sends_everything_but_the_own_part(count: int, sent: int) -> None:
    ours = collectives.all_to_all_seconds(LINK, count, sent)
    expected = (count - 1) * (LINK.latency_s + sent / count / LINK.bytes_per_s)
    assert ours == pytest.approx(expected)
    even = collectives.imbalanced_all_to_all_seconds(LINK, count, [sent] * count)
    assert even == pytest.approx(ours)


def test_the_busiest_receiver_sets_the_time() -> None:
    even = collectives.imbalanced_all_to_all_seconds(LINK, 4, [1e6] * 4)
    skewed = collectives.imbalanced_all_to_all_seconds(LINK, 4, [4e6, 0, 0, 0])
    assert skewed - 3e-6 == pytest.approx(4 * (even - 3e-6))


@given(st.floats(0, 9), st.floats(0, 9), st.integers(1, 50))
def test_a_pipeline_lies_between_the_longer_stage_and_the_sum(a: float, b: float, n: int) -> None:
    """Replayed: piece i leaves the first stage at (i + 1) a / n and then takes b / n."""
    ready = done = 0.0
    for _ in range(n):
        ready += a / n
        done = max(done, ready) + b / n
    assert collectives.overlapped(a, b, n) == pytest.approx(done, abs=1e-9)


@given(st.lists(st.floats(0, 9), min_size=1, max_size=4), st.integers(1, 50))
def test_a_pipeline_of_many_stages_is_its_replay(stages: list[float], pieces: int) -> None:
    """A piece enters a stage when it has left the one before and the piece ahead has left this."""
    free = [0.0] * len(stages)
    for _ in range(pieces):
        ready = 0.0
        for place, seconds in enumerate(stages):
            ready = free[place] = max(ready, free[place]) + seconds / pieces
    ours = collectives.pipelined_seconds(stages, pieces)
    assert ours == pytest.approx(free[-1], abs=1e-9)


def test_one_device_needs_no_collective() -> None:
    alone = Cluster(nodes=1, devices=1, inside=LINK, between=LINK)
    assert collectives.hierarchical_all_to_all_seconds(alone, 1e9) == 0
    assert collectives.materialised_experts_seconds(alone, expert_bytes=1, materialised=4) == 0
    seconds = collectives.expert_layer_seconds(alone, token_bytes=1e9, compute_seconds=2.0)
    assert seconds == 2.0


def test_fewer_experts_are_gathered_in_proportion() -> None:
    free = Link(bytes_per_s=1e9, latency_s=0.0)
    cluster = Cluster(nodes=2, devices=4, inside=free, between=free)
    all_of_them, half = (
        collectives.materialised_experts_seconds(cluster, expert_bytes=1e6, materialised=n)
        for n in (64, 32)
    )
    assert all_of_them == pytest.approx(2 * half)


def test_impossible_clusters_are_refused() -> None:
    with pytest.raises(InputError, match="a link needs a positive bandwidth"):
        Link(bytes_per_s=0, latency_s=0)
    with pytest.raises(InputError, match="at least one node and device, not 0 x 4"):
        Cluster(nodes=0, devices=4, inside=LINK, between=LINK)
    with pytest.raises(InputError, match="topology must be full or ring, not 'star'"):
        Cluster(nodes=1, devices=4, inside=LINK, between=LINK, topology="star")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="for each of 4 devices, not 1"):
        collectives.imbalanced_all_to_all_seconds(LINK, 4, [1.0])
