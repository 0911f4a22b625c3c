"""A comparison of methods on all accelerators beside its budget: `make bench`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 10.0
"""Table and page of a model of 100 million parameters, compiled code in the cache."""

METHODS = "dense,sr-ste:2:4,bdwp:2:8,transposable:2:4,spdf,low-rank:0.25,gqsa"
LAYERS, DIM, HIDDEN, VOCABULARY = 12, 768, 3072, 30522


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write BERT-base with weights of a normal distribution: 109 million parameters in fp16."""
    from safetensors.numpy import save_file

    drawn = np.random.default_rng(0).normal(size=1 << 20).astype(np.float16)

    def weight(*shape: int) -> np.ndarray:
        return np.resize(drawn, shape)

    shapes = {"embeddings.word_embeddings.weight": (VOCABULARY, DIM)}
    for layer in range(LAYERS):
        block = f"encoder.layer.{layer}."
        square = ("attention.self.query", "attention.self.key", "attention.self.value")
        for name in (*square, "attention.output.dense"):
            shapes[f"{block}{name}.weight"] = (DIM, DIM)
        shapes[f"{block}intermediate.dense.weight"] = (HIDDEN, DIM)
        shapes[f"{block}output.dense.weight"] = (DIM, HIDDEN)
    folder = tmp_path_factory.mktemp("bert")
    save_file({name: weight(*shape) for name, shape in shapes.items()}, folder / "bert.safetensors")
    config = {"model_type": "bert", "num_attention_heads": 12, "max_position_embeddings": 512}
    (folder / "config.json").write_text(json.dumps(config))
    assert sum(int(np.prod(shape)) for shape in shapes.values()) > 100e6
    return folder / "bert.safetensors"


def test_methods_of_a_100_million_parameter_model_on_all_accelerators(
    benchmark, bert, figure
) -> None:
    command = [
        *(sys.executable, "-m", "simulator.cli", "compare", "--model", str(bert)),
        *("--methods", METHODS, "--accelerators", "all", "--report", str(bert.parent / "page")),
    ]

    def compare() -> str:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout

    table = benchmark.pedantic(compare, rounds=2, warmup_rounds=1)
    assert all(name in table for name in METHODS.split(","))
    assert (bert.parent / "page" / "report.html").stat().st_size > 100_000
    median = benchmark.stats.stats.median
    figure("compare: 7 methods of BERT-base, all accelerators", median, "s", at_most=SECONDS)


def test_methods_with_digits_of_float_weights_on_all_accelerators(benchmark, bert, figure) -> None:
    command = [
        *(sys.executable, "-m", "simulator.cli", "compare", "--model", str(bert)),
        *("--methods", METHODS, "--accelerators", "all", "--set", "bitweight.quantiser=channel"),
    ]

    def compare() -> str:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout

    assert "bitweight" in benchmark.pedantic(compare, rounds=2, warmup_rounds=1)
    seconds = benchmark.stats.stats.median
    figure("compare: 109 M weights, digits of floats", seconds, "s", at_most=SECONDS)
