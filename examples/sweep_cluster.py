"""Run a sweep on a Dask cluster, and keep the results so that it can be stopped and resumed.

    python examples/sweep_cluster.py [--small] [tcp://scheduler:8786]

Without an address, a scheduler and two worker processes are started on this machine. The results go
to `cluster.sqlite` in the current folder: run it again, and nothing is computed twice. Takes ten
seconds; `--small` tries fewer designs. Prints the fastest time of each accelerator, network and
method.

Needs `pip install 'sparsight[cluster]'`.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

from simulator.sweep import Study

STEP = 16 if "--small" in sys.argv else 4

study = Study(
    name="cluster",
    accelerators=["sat", "systolic"],
    networks=["resnet18", "bert-base"],
    batches=[32],
    methods=["dense", "bdwp:2:8"],
    space={"rows": {"from": 16, "to": 64, "step": STEP}, "cols": {"derive": "rows"}},
)

if __name__ == "__main__":
    with ExitStack() as stack:
        addresses = [text for text in sys.argv[1:] if text.startswith("tcp://")]
        if not addresses:
            from distributed import LocalCluster

            local = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
            addresses = [stack.enter_context(local).scheduler_address]
        table = study.run(cluster=addresses[0], store="cluster.sqlite")
    print(f"{len(table)} points")
    print(table.groupby(["accelerator", "network", "method"], observed=True).seconds.min())
