"""SAT: an N:M sparse training accelerator with a systolic array of unified sparse PEs.

*Source*: "Efficient N:M Sparse DNN Training Using Algorithm, Architecture, and Dataflow Co-Design",
IEEE TCAD 2023, arXiv 2309.13015. Its abstract and a reading note were at hand, not its full text:
where the paper's micro-architecture is unknown, `stepped` defines a buildable one.

*Exact*: cycles of a matrix product on the array with ideal memory, output or weight stationary,
dense or N:M (`timing` equals `stepped`, which `rtl` builds), and its values (`compute`). MACs,
bytes of compact tensors and compulsory traffic. Selection: M cycles a group and lane.

*Approximate*: off-chip traffic follows the best of three blockings (`dataflow.blocking`) and
overlaps perfectly with the array inside a product; products do not overlap each other. Fused work
moves its bytes while the operation it rides on leaves memory idle. Partial sums of a chunked
reduction are added in the output buffer. Vector work (normalisation, softmax, pooling, update) runs
on the vector engine at one lane operation a lane and cycle, after the product before it. Energy is
counted actions times the 45 nm table of `simulator.energy`.

*Ignored*: DRAM pages, refresh and efficiency; halo rows of convolution blocks; conversion of
feature maps to windows (im2col is done by addressing); control, clock tree, leakage.
"""

from simulator import area
from simulator.accelerators.sat.config import Config
from simulator.accelerators.sat.many import evaluate_many
from simulator.accelerators.sat.model import Plan, schedule, simulate
from simulator.accelerators.sat.values import compute

QUANTITIES = {"area_mm2": area.ARRAY}
"""What follows from the config alone, as expressions that studies may use by name."""

__all__ = ["QUANTITIES", "Config", "Plan", "compute", "evaluate_many", "schedule", "simulate"]
