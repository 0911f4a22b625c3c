"""Why SMASH's published 9.4x is missed: one recalled or assumed thing changed at a time, measured.

    python examples/smash_causes.py [TABLE.csv]

Each row gives v1 over v3, its two factors, and the probes of a product with both, on the R-MAT of
4096 rows that the row of sim_results/smash/versions uses. The default table is
sim_results/smash/causes.csv.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from simulator.accelerators import smash
from simulator.experiments.smash import stand_in
from simulator.report import Report
from workloads.files import csv_content, json_content, write_whole
from workloads.matrices import MILD, Csr, rmat, sparse_product

TABLE = Path(__file__).parent.parent / "sim_results" / "smash" / "causes.csv"
SCALE = 12

CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "high bits in all versions": {"hash_kind": "high"},
    "low bits in all versions": {"hash_kind": "low"},
    "multiplicative hash in all versions": {"hash_kind": "multiplicative"},
    "labels of the generator": {"raw_labels": True},
    "low bits in all versions and labels of the generator": {
        "hash_kind": "low",
        "raw_labels": True,
    },
    "a quarter of the table filled": {"fill_limit": 0.25},
    "all of the table filled": {"fill_limit": 1.0},
    "scratchpad of 1 MiB": {"scratchpad_bytes": 1 << 20},
    "scratchpad of 16 MiB": {"scratchpad_bytes": 16 << 20},
    "DRAM of 2 bytes a cycle": {"dram_bytes_per_cycle": 2},
    "accesses of 8 bytes": {"access_bytes": 8},
    "scratchpad latency of 40 cycles": {"scratchpad_latency_cycles": 40},
}


@cache
def matrix(raw_labels: bool) -> Csr:
    """Return the mild R-MAT with its own labels, or with those of the published row."""
    if raw_labels:
        return rmat(SCALE, 16, MILD, rng=np.random.default_rng(2105))
    return stand_in(SCALE)


def run(version: str, *, raw_labels: bool = False, **settings: Any) -> Report:
    """Simulate one version with one change."""
    config = smash.Config(version=version, **settings)
    return smash.simulate(config, smash.schedule(config, sparse_product(matrix(raw_labels))))


@cache
def rows() -> list[dict[str, str]]:
    """Return the experiments."""
    found = []
    for changed, settings in CHANGES.items():
        reports = {version: run(version, **settings) for version in ("v1", "v2", "v3")}
        v1, v2, v3 = (report.seconds for report in reports.values())
        ratios = {"v1_over_v3": v1 / v3, "v1_over_v2": v1 / v2, "v2_over_v3": v2 / v3}
        probes = {
            f"{version}_probes": reports[version].extra["probes_per_product"]
            for version in ("v1", "v3")
        }
        numbers = {name: f"{value:.4g}" for name, value in (ratios | probes).items()}
        found.append({"changed": changed} | numbers)
    return found


def main(path: Path = TABLE) -> None:
    """Write the table, and beside it what made it."""
    meta = {
        "command": "python examples/smash_causes.py",
        "tables": ["simulator/published/smash/versions.paper.csv"],
    }
    write_whole(
        {
            path: csv_content(rows(), list(rows()[0])),
            path.with_suffix(".meta.json"): json_content(meta),
        }
    )
    for row in rows():
        print(*row.values(), sep="\t")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
