"""A SCALE-Sim configuration file as a config of this array, under that tool's conventions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from simulator.accelerators.systolic.config import Config
from simulator.accelerators.systolic.timing import Dataflow
from simulator.run_options import RunOption
from workloads.scalesim import ScaleSimConfig, read_configuration

RUN_OPTIONS = (
    RunOption(
        name="--scalesim-config",
        help="SCALE-Sim configuration: array, buffers and dataflow are taken from it, and its "
        "tiling convention (tile_overlap=none).",
        values=("FILE.cfg",),
        base=True,
    ),
)

_USED = (
    "run_name",
    "array_height",
    "array_width",
    "ifmap_sram_kb",
    "filter_sram_kb",
    "ofmap_sram_kb",
    "dataflow",
)


def config_from_options(options: Mapping[str, tuple[str, ...]]) -> tuple[Config, tuple[str, ...]]:
    """Return the config of the named file, and what of the file has no counterpart here."""
    (path,) = options["scalesim-config"]
    given = read_configuration(Path(path))
    config = Config(
        rows=given.array_height,
        cols=given.array_width,
        dataflow=cast(Dataflow, given.dataflow),
        tile_overlap="none",
        left_buffer_bytes=given.ifmap_sram_kb * 1024,
        right_buffer_bytes=given.filter_sram_kb * 1024,
        out_buffer_bytes=given.ofmap_sram_kb * 1024,
    )
    return config, tuple(_unused(path, given))


def _unused(path: str, given: ScaleSimConfig) -> list[str]:
    keys = [
        item.metadata["key"]
        for item in dataclasses.fields(given)
        if item.name not in _USED and getattr(given, item.name) != item.default
    ]
    if not keys:
        return []
    return [f"{path}: {', '.join(keys)} have no counterpart in systolic and are not used"]
