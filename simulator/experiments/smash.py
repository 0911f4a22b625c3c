"""SMASH and its rivals: effect of the three versions, and the square of email-Enron."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from dataflow.spgemm import Work, count
from dataflow.traffic import (
    arithmetic_intensity,
    compulsory_bytes,
    row_wise_traffic,
    unshared_b_bytes,
)
from simulator.accelerators import find
from simulator.accelerators.smash import Config
from simulator.report import Report
from workloads.matrices import MILD, Csr, read_matrix, rmat, sparse_product


@cache
def stand_in(scale: int) -> Csr:
    """Return the mild R-MAT that stands in for the paper's matrix, labels permuted."""
    rng = np.random.default_rng(2105)
    return rmat(scale, 16, MILD, rng=rng).permuted(rng)


@cache
def _work(matrix: Csr) -> Work:
    return count(matrix, matrix)


@cache
def _report(accelerator: str, matrix: Csr, **settings: Any) -> Report:
    model = find(accelerator)
    config = model.Config(**settings)
    return model.simulate(config, model.schedule(config, sparse_product(matrix)))


@cache
def _email() -> Csr:
    return read_matrix("email-Enron")


def versions() -> dict[str, float]:
    """Return run times of the versions against each other, with the hash of `Config` and its own.

    The matrix of 4096 rows keeps v1 affordable; its hash clusters on larger ones as well.
    """
    seconds = {name: _report("smash", stand_in(12), version=name).seconds for name in _VERSIONS}
    fair = {
        name: _report("smash", stand_in(12), version=name, hash_kind="multiplicative").seconds
        for name in _VERSIONS
    }
    return {
        "v1 over v3": seconds["v1"] / seconds["v3"],
        "v1 over v2": seconds["v1"] / seconds["v2"],
        "v2 over v3": seconds["v2"] / seconds["v3"],
        "v1 over v3, multiplicative hash": fair["v1"] / fair["v3"],
    }


def utilisation() -> dict[str, float]:
    """Return counts of the stand-in at full size, and what v2 and v3 reach on it."""
    matrix = stand_in(14)
    work = _work(matrix)
    rows = matrix.shape[0]
    traffic = row_wise_traffic(work, rows, b_bytes=unshared_b_bytes(work))
    ours: dict[str, float] = {
        "entries of A": matrix.nnz,
        "entries of C": work.nnz_c,
        "products for each entry of C": work.compression,
        "arithmetic intensity without reuse of B": arithmetic_intensity(work, traffic.total),
    }
    for name in ("v2", "v3"):
        extra = _report("smash", matrix, version=name).extra
        ours[f"DRAM utilisation of {name}"] = extra["dram_utilisation"]
        ours[f"instructions per cycle of {name}"] = extra["ipc"]
    return ours


def email_enron() -> dict[str, float]:
    """Return counts, traffic and times of A*A on email-Enron; see the notes of the rows."""
    matrix = _email()
    work = _work(matrix)
    gamma, outerspace = _report("gamma", matrix), _report("outerspace", matrix)
    extensor = _report("extensor", matrix)
    least = compulsory_bytes(work, *matrix.shape)
    tiled = extensor.extra["tiled_compulsory_bytes"]
    return {
        "multiplies": work.multiplies,
        "adds": work.adds,
        "entries of C": work.nnz_c,
        "compulsory bytes": least,
        "compulsory bytes, ExTensor's format": tiled,
        "Gamma traffic over compulsory": gamma.dram_bytes / least,
        "Gamma time": gamma.seconds * 1e3,
        "OuterSPACE traffic over compulsory": outerspace.dram_bytes / least,
        "ExTensor traffic over compulsory": extensor.dram_bytes / tiled,
        "ExTensor partial outputs": extensor.extra["traffic"]["partial"],
        "ExTensor time": extensor.seconds * 1e3,
    }


_VERSIONS = Config(version="v1,v2,v3").versions
