"""Read and write the files of SCALE-Sim: topologies (CSV) and configurations (INI)."""

from workloads.scalesim.configuration import ScaleSimConfig, read_configuration, write_configuration
from workloads.scalesim.topology import read_topology, write_topology

__all__ = [
    "ScaleSimConfig",
    "read_configuration",
    "read_topology",
    "write_configuration",
    "write_topology",
]
