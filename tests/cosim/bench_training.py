"""cocotb bench: trains a small network with every product, update and selection on the hardware.

Only numpy glue runs here: ReLU, loss gradient, fp16 rounding of activations, and moving words
between the accelerator's memories, as a host would.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import cocotb
import numpy as np

from dataflow import nm
from rtl.sat import host
from rtl.sat.instructions import encode
from rtl.sat.job import read_compact, read_state, write_settings, write_state
from rtl.sat.parameters import Parameters
from rtl.sat.top import Space
from tests.cosim.bench_sat import begin, finish, run_case
from tests.cosim.sat_model import Case, gather, plan_product, product_case
from tests.cosim.sat_update import Sgd, settings, take_compact, take_state
from tests.cosim.training import DENSE, NETWORKS, LayerShape, initial, train, transposed_compact
from workloads import NM

LAYER_WORDS = 128


@dataclass
class HardwareEngine:
    """Runs each operation of the plan on the accelerator; adds up the cycles it reports."""

    dut: object
    parameters: Parameters
    pattern: NM
    plan: dict[str, str]
    sgd: Sgd
    layers: list[str] = field(default_factory=list)
    forward_copy: dict[str, nm.Compressed] = field(default_factory=dict)
    backward_copy: dict[str, nm.Compressed] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    cycles: dict[str, list[int]] = field(default_factory=dict)

    async def start(self, weights: dict[str, np.ndarray], shapes: dict[str, LayerShape]) -> None:
        """Load master weights, zero momentum, and make the compact copies of the first step."""
        case = Case(name="weights")
        write_settings(case, **settings(self.sgd))
        for name, weight in weights.items():
            self.layers.append(name)
            update = self._update(shapes[name])
            write_state(case, Space.WEIGHT, update, weight, self._base(name))
            write_state(case, Space.MOMENTUM, update, np.zeros_like(weight), self._base(name))
            half = weight.astype(np.float16)
            self.forward_copy[name] = nm.compress(half, self.pattern)
            self.backward_copy[name] = nm.compress(half.T, self.pattern)
        await run_case(self.dut, asdict(case))

    async def forward(self, layer: LayerShape, left: np.ndarray) -> np.ndarray:
        return await self._product(f"{layer.name}.FF", left, self.forward_copy[layer.name])

    async def backward(self, layer: LayerShape, left: np.ndarray) -> np.ndarray:
        copy = transposed_compact(self.backward_copy[layer.name], layer)
        return await self._product(f"{layer.name}.BP", left, copy)

    async def gradient(self, layer: LayerShape, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return await self._product(f"{layer.name}.WU", left, nm.compress(right, DENSE))

    async def update(self, layer: LayerShape, gradient: np.ndarray) -> None:
        """Update, select again, and fetch the compact copies and the master weights."""
        update, base = self._update(layer), self._base(layer.name)
        case = Case(name=f"{layer.name}.update")
        write_state(case, Space.GRADIENT, update, gradient, base)
        bases = dict.fromkeys(("weight_base", "forward_base", "backward_base"), base)
        case.write(Space.PLAN, 0, 0, encode({**update.instruction, **bases}, self.parameters))
        case.write(Space.START, 0, 0, 1)
        read_state(case, Space.WEIGHT, update, base)
        read_compact(case, update, base, base)
        answer = await run_case(self.dut, asdict(case))
        self.cycles.setdefault(case.name, []).append(answer["total"])
        words = np.array(answer["words"], np.uint32)
        self.weights[layer.name], words = take_state(words, update)
        self.forward_copy[layer.name], self.backward_copy[layer.name], _ = take_compact(
            words, update
        )

    async def _product(self, name: str, left: np.ndarray, packed: nm.Compressed) -> np.ndarray:
        windows = nm.windows(left, packed.pattern)
        product = plan_product(windows, packed, self.parameters, stationarity=self.plan[name])
        case = product_case(product, self.parameters, name=name)
        answer = await run_case(self.dut, asdict(case))
        self.cycles.setdefault(name, []).append(answer["total"])
        return gather(product, np.array(answer["words"], np.uint32), "<f4")

    def _update(self, layer: LayerShape) -> host.Update:
        return host.Update(shape=layer.matrix, pattern=self.pattern, parameters=self.parameters)

    def _base(self, name: str) -> int:
        return self.layers.index(name) * LAYER_WORDS


@cocotb.test()
async def run_training(dut) -> None:
    job = await begin(dut)
    finish([await train_one(dut, Parameters(**job["parameters"]), item) for item in job["runs"]])


async def train_one(dut, parameters: Parameters, item: dict) -> dict:
    shapes = {layer.name: layer for layer in NETWORKS[item["network"]].layers}
    engine = HardwareEngine(dut, parameters, NM(*item["pattern"]), item["plan"], Sgd())
    weights, x, target = initial(item["network"], item["seed"])
    await engine.start(weights, shapes)
    gradients = await train(item["network"], engine, x, target)
    return {
        "weights": {
            name: weight.view(np.uint32).tolist() for name, weight in engine.weights.items()
        },
        "gradients": [gradient.view(np.uint16).tolist() for gradient in gradients],
        "cycles": engine.cycles,
    }
