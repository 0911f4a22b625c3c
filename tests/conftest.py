"""Settings for the whole suite: Hypothesis without deadlines, reproducible in CI."""

import importlib.util
import os

from hypothesis import settings

# A first call compiles numba kernels, so that time limits per example mean nothing.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_terminal_summary(terminalreporter) -> None:
    found = importlib.util.find_spec("torch") is not None
    state = "ran" if found else "DID NOT RUN: pip install 'sparsight[torch]'"
    terminalreporter.write_line(f"PyTorch capture tests: {state}")
