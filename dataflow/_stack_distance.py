"""The compiled loop of `dataflow.traffic.byte_reuse`."""

from __future__ import annotations

from typing import Any

from numba import njit


@njit(cache=True)
def stack_distances(
    sequence: Any, sizes: Any, final: Any, tree: Any, last: Any, distance: Any
) -> None:
    """Write the byte distance of each access; `tree` begins at 0 and `last` at -1.

    The Fenwick tree holds, at the time of each object's latest use, its size; an object leaves it
    after a use that is marked in `final`, so that a later use is a first one.
    """
    n = len(sequence)
    in_tree = 0
    for now in range(n):
        item = sequence[now]
        size = sizes[item]
        before = last[item]
        if before < 0:
            distance[now] = -1
            in_tree += size
        else:
            older = 0
            at = before + 1
            while at > 0:
                older += tree[at]
                at -= at & -at
            distance[now] = in_tree - older + size
            at = before + 1
            while at <= n:
                tree[at] -= size
                at += at & -at
        if final[now]:
            in_tree -= size
            last[item] = -1
            continue
        at = now + 1
        while at <= n:
            tree[at] += size
            at += at & -at
        last[item] = now
