"""A DRAM channel at command level: bank states and timing, the controller, closed forms."""
