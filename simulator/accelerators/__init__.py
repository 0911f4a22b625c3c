"""One module (or sub-package) per accelerator; `find` returns it by name.

A module in this folder is an accelerator if it has what `Accelerator` states. Nothing registers
itself: `names` lists the folder.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, Protocol, cast

from simulator.report import Report
from workloads.errors import InputError, nearest
from workloads.operations import Workload


class Accelerator(Protocol):
    """What a model module offers. A model with values to compute also has `compute`.

    Optional: `RUN_OPTIONS` (see `simulator.run_options`); `NEVER_SLOWER_WITH`, the config fields
    that never make a run slower when they grow; `evaluate_many(configs, workload)`, the totals of
    many configurations at once, for sweeps; `QUANTITIES`, expressions in config fields (the
    area) that studies may use by name; `example()`, a small workload for a model whose `schedule`
    takes no training step; `SETTING_FOR_ALL`, a setting (`field=value`) that a comparison of all
    accelerators adds, with a note, where the workload needs it; `STEPS_NON_ZEROS = True` for a
    model that steps through every non-zero of its operands, which a comparison of all accelerators
    leaves out. The contract test reads `NEVER_SLOWER_WITH`, `QUANTITIES` and `example`.
    """

    Config: type[Any]

    def schedule(self, config: Any, workload: Workload) -> Any:
        """Take every decision before the first cycle and return it as a plan to read and edit."""

    def simulate(self, config: Any, plan: Any) -> Report:
        """Say what the plan costs, without deciding anything."""


def names() -> list[str]:
    """Return the names of all accelerators, sorted."""
    return sorted(
        module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
    )


def find(name: str) -> Accelerator:
    """Import the accelerator called `name`; raise `InputError` if there is none."""
    if name not in names():
        hint = nearest(name, names())
        raise InputError(f"no accelerator is called {name!r}; {hint}")
    return cast(Accelerator, importlib.import_module(f"{__name__}.{name}"))


def run(name: str, workload: Workload, **settings: Any) -> Report:
    """Schedule and simulate `workload` on the accelerator `name` with config fields `settings`."""
    model = find(name)
    config = model.Config(**settings)
    return model.simulate(config, model.schedule(config, workload))
