"""Rounding of quotients, as `workloads.rounding` defines it."""

from workloads.rounding import ceil_div

__all__ = ["ceil_div"]
