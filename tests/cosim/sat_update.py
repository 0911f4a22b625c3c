"""What an update computes, and weights and compact copies as they stand in the answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataflow import nm
from rtl.sat import host

Float32 = NDArray[np.float32]
RATE, MOMENTUM, NO_DECAY = np.float32(0.1), np.float32(0.9), np.float32(0)


@dataclass(frozen=True, slots=True)
class Sgd:
    """Rate, momentum and weight decay; no decay means two lane operations an element."""

    rate: np.float32 = RATE
    momentum: np.float32 = MOMENTUM
    decay: np.float32 = NO_DECAY

    @property
    def decays(self) -> bool:
        return bool(self.decay != 0)

    @property
    def lane_operations(self) -> int:
        return 2 + self.decays

    def step(
        self, weight: Float32, momentum: Float32, gradient: Float32
    ) -> tuple[Float32, Float32]:
        """Return weight and momentum after one update, every operation rounded to fp32."""
        if self.decays:
            gradient = self.decay * weight + gradient
        momentum = self.momentum * momentum + gradient
        return weight - self.rate * momentum, momentum


def settings(sgd: Sgd) -> dict[str, float]:
    return {"rate": sgd.rate, "momentum": sgd.momentum, "decay": sgd.decay}


def take_state(words: NDArray[np.uint32], update: host.Update) -> tuple[Float32, NDArray]:
    """Return the (K, Q) matrix and the words behind it."""
    lanes = update.parameters.lanes
    count = lanes * update.rows * update.blocks
    image = words[:count].view(np.float32).reshape(lanes, -1)
    return update.gather(image), words[count:]


def take_compact(
    words: NDArray[np.uint32], update: host.Update
) -> tuple[nm.Compressed, nm.Compressed, NDArray]:
    """Return W with groups along K, its transpose with groups along Q, and the words behind."""
    lanes, kept = update.parameters.lanes, update.pattern.n
    forward = lanes * kept * update.forward_words
    backward = update.parameters.flights * update.parameters.slices * kept * update.backward_words
    return (
        update.forward(words[:forward].reshape(lanes, kept, -1)),
        update.backward(
            words[forward : forward + backward].reshape(-1, kept, update.backward_words)
        ),
        words[forward + backward :],
    )
