"""Design-space sweeps: which hardware, for which method and network.

Modules, in the order in which a study passes through them: `study_file` and `definition` (what is
asked), `parameters`, `expressions` and `space` (the designs), `sampling` and `adaptive` (which of
them), `stages`, `evaluate` and `rows` (their results), `execute` and `runner` (where and when),
`store` (the journal), `export`, `pareto`, `sensitivity`, `breakdowns` and `report` (what to do with
it). `Study` ties them together.
"""

from simulator.sweep.study import Outcome, Study

__all__ = ["Outcome", "Study"]
