"""Small training steps whose products are counted by hand."""

from __future__ import annotations

from workloads import Pass, Workload, networks
from workloads.lowering import lower_linear
from workloads.vector_work import weight_update


def layer(rows: int = 64, ins: int = 48, outs: int = 32, name: str = "l") -> Workload:
    """One inner linear layer: its three passes and its update."""
    products = [
        op for p in (Pass.FF, Pass.BP, Pass.WU) for op in lower_linear(name, rows, ins, outs, p)
    ]
    return Workload(name="layer", operations=(*products, weight_update(name, ins * outs)))


def block() -> Workload:
    return networks.llama_7b_block(batch=1, tokens=128).training_step()
