"""Amaranth components, generated from the same parameters that the simulator uses."""
