"""The N:M training accelerator: array of sparse PEs, selection, weight update, controller.

Source: arXiv 2309.13015 (blocks, dataflows, one group of M in M cycles). The cycle contract is
this project's: operands of slot s are at PE (r, c) in cycle s + r + c (output stationary) or
s + r h + c (weight stationary); see `rtl.sat.stce`.
"""
