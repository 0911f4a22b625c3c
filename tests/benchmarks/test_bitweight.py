"""Speed of the bit-weight simulator: `pytest tests/benchmarks`; limits for two cores."""

import numpy as np

from dataflow.digits import digit_statistics
from simulator.accelerators import bitweight
from simulator.accelerators.bitweight import Config, Operands
from workloads import gemm


def test_an_exact_product_of_4096_cubed(benchmark, figure) -> None:
    rng = np.random.default_rng(0)
    drawn = np.rint(rng.normal(0, 24.4, (2, 4096, 4096))).clip(-128, 127).astype(np.int8)
    operands = Operands(left=drawn[0], right=drawn[1])
    config = Config(engine="opt4c", rows=32, cols=32, banks=64, interleaved=True)

    def simulate() -> int:
        return bitweight.simulate(config, bitweight.schedule(config, operands)).cycles

    simulate()
    assert benchmark(simulate) > 0
    figure("bitweight: exact 4096^3", benchmark.stats["min"], "s", at_most=2.0)


def test_digit_statistics_of_100_million_weights(benchmark, figure) -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(-128, 128, 100_000_000, dtype=np.int8)
    digit_statistics(weights[:1000], "ent", 8)
    assert benchmark(lambda: digit_statistics(weights, "ent", 8)).values == weights.size
    figure("digits of 100 million weights", benchmark.stats["min"], "s", at_most=2.0)


def test_a_product_without_values(benchmark, figure) -> None:
    config = Config(engine="opt4e")
    shapes = iter(range(4096, 0, -1))

    def simulate() -> int:
        work = gemm(4096, next(shapes), 4096, dtype="int8")
        return bitweight.simulate(config, bitweight.schedule(config, work)).cycles

    assert benchmark.pedantic(simulate, rounds=200, warmup_rounds=5) > 0
    figure("bitweight: a product without values", benchmark.stats["min"], "s", at_most=1e-3)
