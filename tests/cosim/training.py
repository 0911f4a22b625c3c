"""Three BDWP steps of small networks: in numpy, and the same with every product on the hardware.

A layer's weights are a matrix [K = taps x inputs, Q = outputs]; a linear layer has one tap. What
lies between the products (ReLU, loss gradient, rounding of activations to fp16) is numpy in both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dataflow import nm
from simulator.accelerators import sat
from workloads import NM
from workloads.layers import Conv, Linear, Vector
from workloads.methods import bdwp
from workloads.network import Network
from workloads.operations import Workload

STEPS = 3
DENSE = NM(1, 1)

Half = NDArray[np.float16]
Single = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LayerShape:
    """Taps of the kernel, input and output channels."""

    name: str
    taps: int
    inputs: int
    outputs: int

    @property
    def matrix(self) -> tuple[int, int]:
        return self.taps * self.inputs, self.outputs


class Engine(Protocol):
    """Computes the three products of a layer and its update."""

    async def forward(self, layer: LayerShape, left: Half) -> Single: ...
    async def backward(self, layer: LayerShape, left: Half) -> Single: ...
    async def gradient(self, layer: LayerShape, left: Half, right: Half) -> Single: ...
    async def update(self, layer: LayerShape, gradient: Single) -> None: ...


@dataclass
class NumpyEngine:
    """The reference: exact fp16 products added in fp32, SGD in fp32, masks by `dataflow.nm`."""

    pattern: NM
    sgd: Any
    weights: dict[str, Single]
    momenta: dict[str, Single] = field(default_factory=dict)

    async def forward(self, layer: LayerShape, left: Half) -> Single:
        return self._product(left, self._half(layer), self.pattern)

    async def backward(self, layer: LayerShape, left: Half) -> Single:
        return self._product(left, transposed(self._half(layer), layer), self.pattern)

    async def gradient(self, layer: LayerShape, left: Half, right: Half) -> Single:
        return self._product(left, right, DENSE)

    async def update(self, layer: LayerShape, gradient: Single) -> None:
        old = self.momenta.get(layer.name, np.zeros_like(gradient))
        self.weights[layer.name], self.momenta[layer.name] = self.sgd.step(
            self.weights[layer.name], old, gradient
        )

    def _half(self, layer: LayerShape) -> Half:
        return self.weights[layer.name].astype(np.float16)

    @staticmethod
    def _product(left: Half, right: Half, pattern: NM) -> Single:
        return sat.compute(sat.Config(), left, right, pattern)


def transposed(matrix: NDArray[Any], layer: LayerShape) -> NDArray[Any]:
    """Return the matrix of the backward product: [taps x outputs, inputs]."""
    split = matrix.reshape(layer.taps, layer.inputs, layer.outputs)
    return split.transpose(0, 2, 1).reshape(-1, layer.inputs)


def transposed_compact(packed: nm.Compressed, layer: LayerShape) -> nm.Compressed:
    """Bring the transposed compact copy, groups along the outputs, into the order of `transposed`.

    From (output groups, N, taps x inputs) to (taps x output groups, N, inputs).
    """

    def order(part: NDArray[Any]) -> NDArray[Any]:
        groups, kept, _ = part.shape
        split = part.reshape(groups, kept, layer.taps, layer.inputs)
        return np.ascontiguousarray(split.transpose(2, 0, 1, 3)).reshape(-1, kept, layer.inputs)

    return nm.Compressed(
        values=order(packed.values),
        indices=order(packed.indices),
        pattern=packed.pattern,
        length=layer.taps * layer.outputs,
    )


@dataclass(frozen=True)
class Perceptron:
    """Two linear layers with a ReLU between them; squared error."""

    batch: int = 12
    width: int = 16

    @property
    def layers(self) -> tuple[LayerShape, ...]:
        return tuple(LayerShape(name, 1, self.width, self.width) for name in ("fc1", "fc2"))

    def network(self) -> Network:
        fc1, fc2 = (
            Linear(name=x.name, in_features=x.inputs, out_features=x.outputs, bias=False)
            for x in self.layers
        )
        relu = Vector(name="relu", kind="relu", elements=self.width)
        return _network("perceptron", self.batch, (fc1, relu, fc2))

    def samples(self, rng: np.random.Generator) -> tuple[Half, Single]:
        shape = (self.batch, self.width)
        return rng.standard_normal(shape).astype(np.float16), rng.standard_normal(shape).astype(
            np.float32
        )

    async def step(self, engine: Engine, x: Half, target: Single) -> Half:
        """Run one training step; return the gradient of the input."""
        fc1, fc2 = self.layers
        y1 = await engine.forward(fc1, x)
        hidden = np.maximum(y1, np.float32(0)).astype(np.float16)
        y2 = await engine.forward(fc2, hidden)
        d2 = ((y2 - target) * np.float32(1 / 16)).astype(np.float16)
        d_hidden = await engine.backward(fc2, d2)
        gradient2 = await engine.gradient(fc2, np.ascontiguousarray(hidden.T), d2)
        d1 = np.where(y1 > 0, d_hidden, np.float32(0)).astype(np.float16)
        dx = await engine.backward(fc1, d1)
        gradient1 = await engine.gradient(fc1, np.ascontiguousarray(x.T), d1)
        await engine.update(fc1, gradient1)
        await engine.update(fc2, gradient2)
        return dx.astype(np.float16)


@dataclass(frozen=True)
class Convolution:
    """One 3x3 convolution; squared error."""

    batch: int = 2
    size: int = 4
    inputs: int = 8
    outputs: int = 16

    @property
    def layers(self) -> tuple[LayerShape, ...]:
        return (LayerShape("conv", 9, self.inputs, self.outputs),)

    def network(self) -> Network:
        layer = Conv(
            name="conv",
            in_channels=self.inputs,
            out_channels=self.outputs,
            in_hw=(self.size, self.size),
            kernel=3,
            padding=1,
        )
        return _network("convolution", self.batch, (layer,))

    def samples(self, rng: np.random.Generator) -> tuple[Half, Single]:
        shape = (self.batch, self.size, self.size)
        return (
            rng.standard_normal((*shape, self.inputs)).astype(np.float16),
            rng.standard_normal((*shape, self.outputs)).astype(np.float32),
        )

    async def step(self, engine: Engine, x: Half, target: Single) -> Half:
        """Run one training step; return the gradient of the input."""
        (conv,) = self.layers
        columns = windows_of(x, shift=-1)
        y = await engine.forward(conv, columns)
        error = (y - target.reshape(y.shape)) * np.float32(1 / 16)
        dy = error.astype(np.float16)
        # an input position ih meets output oh = ih + 1 - kh: the same windows, mirrored
        dx = await engine.backward(conv, windows_of(dy.reshape(target.shape), shift=1))
        gradient = await engine.gradient(conv, np.ascontiguousarray(columns.T), dy)
        await engine.update(conv, gradient)
        return dx.astype(np.float16).reshape(x.shape)


def windows_of(maps: Half, *, shift: int) -> Half:
    """Return rows [B H W, 9 C] with element (kh, kw) from position (h, w) - shift (k - 1).

    `shift` is -1 for the inputs of an output and 1 for the outputs that an input reaches.
    """
    batch, height, width, channels = maps.shape
    padded = np.zeros((batch, height + 2, width + 2, channels), maps.dtype)
    padded[:, 1:-1, 1:-1] = maps
    taps = [
        padded[:, 1 + dh : 1 + dh + height, 1 + dw : 1 + dw + width]
        for dh, dw in ((-shift * (kh - 1), -shift * (kw - 1)) for kh in range(3) for kw in range(3))
    ]
    return np.stack(taps, axis=3).reshape(batch * height * width, 9 * channels)


def _network(name: str, batch: int, layers: tuple[Any, ...]) -> Network:
    return Network(
        name=name,
        source="tests",
        input="random",
        batch=batch,
        layers=layers,
        needs_input_gradient=True,
    )


NETWORKS = {"perceptron": Perceptron(), "convolution": Convolution()}


def workload(name: str, pattern: NM) -> Workload:
    return NETWORKS[name].network().training_step(bdwp(pattern.n, pattern.m))


def initial(name: str, seed: int) -> tuple[dict[str, Single], Half, Single]:
    """Return weights, input and target of a network."""
    rng = np.random.default_rng(seed)
    network = NETWORKS[name]
    weights = {
        layer.name: (rng.standard_normal(layer.matrix) * 0.3).astype(np.float32)
        for layer in network.layers
    }
    return weights, *network.samples(rng)


async def train(name: str, engine: Engine, x: Half, target: Single) -> list[Half]:
    """Run the steps; return the input gradient of each."""
    return [await NETWORKS[name].step(engine, x, target) for _ in range(STEPS)]
