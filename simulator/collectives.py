"""What it costs to move experts and tokens between devices: a model of collectives, nothing more.

`p` devices, `b` bytes of one device's buffer, bandwidth `B` of one link in one direction, latency
`L` of one transfer (the alpha-beta model):

==================  ==================  =========================================================
collective          topology            time
==================  ==================  =========================================================
all-gather,         ring, full          (p - 1) (L + b / (p B)), b the gathered size
reduce-scatter
all-reduce          ring, full          2 (p - 1) (L + b / (p B)): scatter, then gather
all-to-all          full                (p - 1) L + b (p - 1) / (p B): one partner after another
all-to-all          ring                `ring_all_to_all_seconds`: each byte crosses its hops
any                 nodes of devices    its part inside the nodes, then between them
==================  ==================  =========================================================

Sources: Thakur, Rabenseifner and Gropp, Optimization of collective communication operations in
MPICH, 2005 (ring all-gather, reduce-scatter, all-reduce, pairwise all-to-all). *Ignored*: switches,
protocols, and contention with compute; overlap is for `overlapped`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from workloads.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One direction of the connection between two devices."""

    bytes_per_s: float
    """Bandwidth in bytes/s."""

    latency_s: float
    """Time before the first byte arrives, in s."""

    def __post_init__(self) -> None:
        if not self.bytes_per_s > 0 or not self.latency_s >= 0:
            raise InputError(
                f"a link needs a positive bandwidth and a latency of at least 0, not "
                f"{self.bytes_per_s} bytes/s and {self.latency_s} s"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """`nodes` nodes of `devices` devices each; `inside` connects a node's, `between` the nodes.

    All devices of a node send between nodes at the same time, over links of their own.
    """

    nodes: int
    devices: int
    inside: Link
    between: Link
    topology: Literal["full", "ring"] = "full"

    def __post_init__(self) -> None:
        if self.nodes < 1 or self.devices < 1:
            raise InputError(
                f"a cluster needs at least one node and device, not {self.nodes} x {self.devices}"
            )
        if self.topology not in ("full", "ring"):
            raise InputError(f"topology must be full or ring, not {self.topology!r}")

    @property
    def size(self) -> int:
        """Devices of all nodes."""
        return self.nodes * self.devices


def all_gather_seconds(link: Link, devices: int, gathered_bytes: float) -> float:
    """Return the time until every device has the whole of `gathered_bytes`.

    >>> all_gather_seconds(Link(bytes_per_s=1e9, latency_s=0.0), 4, 4e9)
    3.0
    """
    steps = _steps(devices)
    return steps * (link.latency_s + gathered_bytes / devices / link.bytes_per_s)


def all_reduce_seconds(link: Link, devices: int, reduced_bytes: float) -> float:
    """Return the time of a reduce-scatter and an all-gather of the same bytes."""
    return 2 * all_gather_seconds(link, devices, reduced_bytes)


def all_to_all_seconds(
    link: Link, devices: int, sent_bytes: float, *, topology: str = "full"
) -> float:
    """Return the time until each device has sent an equal part of its bytes to each, itself too."""
    steps = _steps(devices)
    if topology == "ring":
        return ring_all_to_all_seconds(link, devices, sent_bytes)
    return steps * link.latency_s + sent_bytes * steps / devices / link.bytes_per_s


def ring_all_to_all_seconds(link: Link, devices: int, sent_bytes: float) -> float:
    """Return the time of an all-to-all on a ring with both directions in use.

    A message for the device h hops away crosses h links; hops are at most p / 2. The bytes that
    cross one directed link are those of all distances on its side.
    """
    steps = _steps(devices)
    if steps == 0:
        return 0.0
    one_way = sum(range(1, (devices - 1) // 2 + 1))
    half_way = devices / 4 if devices % 2 == 0 else 0.0
    crossing = sent_bytes / devices * (one_way + half_way)
    return devices // 2 * link.latency_s + crossing / link.bytes_per_s


def imbalanced_all_to_all_seconds(
    link: Link, devices: int, received_bytes: Sequence[float]
) -> float:
    """Return the time of an all-to-all in which devices receive different amounts.

    The busiest receiver sets the time: what the others send it arrives over one link. A routing
    histogram, summed over the experts of each device, says how much each receives.
    """
    if len(received_bytes) != devices:
        raise InputError(
            f"received bytes must be given for each of {devices} devices, not {len(received_bytes)}"
        )
    steps = _steps(devices)
    busiest = max(received_bytes) * steps / devices
    return steps * link.latency_s + busiest / link.bytes_per_s


def hierarchical_all_to_all_seconds(cluster: Cluster, sent_bytes: float) -> float:
    """Return the time of an all-to-all in two phases: inside the nodes, then between them."""
    inner = all_to_all_seconds(
        cluster.inside, cluster.devices, sent_bytes, topology=cluster.topology
    )
    outer = all_to_all_seconds(
        cluster.between, cluster.nodes, sent_bytes, topology=cluster.topology
    )
    return inner + outer


def overlapped(compute_seconds: float, communication_seconds: float, pieces: int) -> float:
    """Return the time of a layer cut into `pieces` that alternate between compute and transfer.

    A pipeline of two stages: the first piece of one, then the longer of both, then the last piece.
    """
    return pipelined_seconds((compute_seconds, communication_seconds), pieces)


def pipelined_seconds(stages: Sequence[float], pieces: int) -> float:
    """Return the time of a layer cut into `pieces` that go through `stages`, a resource each.

    Every piece goes through all stages, and a stage works on one piece at a time: the first piece
    takes a share of each stage, every further one a share of the longest. `stages` are seconds of
    the whole layer.

    >>> pipelined_seconds((6.0, 3.0, 3.0), 3)
    8.0
    """
    if pieces < 1 or not stages:
        raise InputError(
            f"a layer must have at least one stage and be cut into at least one piece, not "
            f"{len(stages)} and {pieces}"
        )
    return (sum(stages) + (pieces - 1) * max(stages)) / pieces


def expert_layer_seconds(
    cluster: Cluster,
    *,
    token_bytes: float,
    compute_seconds: float,
    pieces: int = 1,
) -> float:
    """Return the time of a layer of experts: tokens out, experts, tokens back.

    `token_bytes` are those that one device sends (its tokens x experts a token x width x bytes).
    """
    transfer = 2 * hierarchical_all_to_all_seconds(cluster, token_bytes)
    return overlapped(compute_seconds, transfer, pieces)


def materialised_experts_seconds(
    cluster: Cluster, *, expert_bytes: float, materialised: int
) -> float:
    """Return the time to gather `materialised` of the sharded experts on every device, and back.

    Fully sharded sparse data parallelism: parameters are gathered before use and their gradients
    scattered after it, both in proportion to the experts in use.
    """
    gathered = expert_bytes * materialised
    gather = all_gather_seconds(cluster.inside, cluster.devices, gathered)
    across = all_gather_seconds(cluster.between, cluster.nodes, gathered)
    return 2 * (gather + across)


def _steps(devices: int) -> int:
    if devices < 1:
        raise InputError(f"a collective needs at least one device, not {devices}")
    return devices - 1
