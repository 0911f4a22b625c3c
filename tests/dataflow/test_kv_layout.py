"""Where caches lie in the channels: packing, and the halves of a batch."""

import numpy as np

from dataflow.kv_layout import KvLayout, pack_channels, split_sub_batches
from workloads.llm.requests import warm_batch


def test_greedy_packing_is_no_worse_than_taking_turns() -> None:
    layout = KvLayout(heads=8, head_width=128)
    lengths = warm_batch("sharegpt", 128, np.random.default_rng(3)).lengths
    load = np.zeros(32)
    for length, channel in zip(lengths, pack_channels(layout, lengths, channels=32), strict=True):
        load[channel] += layout.estimate_clocks(length)
    turns = np.zeros(32)
    for i, length in enumerate(lengths):
        turns[i % 32] += layout.estimate_clocks(length)
    assert load.max() <= turns.max()


def test_sub_batches_share_every_request_of_every_channel() -> None:
    channels = [0, 0, 0, 1, 2, 2, 2, 2, 2]
    first, second = split_sub_batches(channels, channels=4)
    assert sorted(first + second) == list(range(len(channels)))
    assert (len(first), len(second)) == (2 + 0 + 3, 1 + 1 + 2)
