"""Run the command line in this process, and see what it printed and returned."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from simulator.cli import main


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON value that it must be."""
        return json.loads(self.out)


@pytest.fixture
def sparsight(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def call(*arguments: object) -> Result:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def refused(sparsight: Callable[..., Result]) -> Callable[..., str]:
    """Return the one sentence on standard error of a command that must exit with 2."""

    def call(*arguments: object) -> str:
        result = sparsight(*arguments)
        assert (result.code, result.out) == (2, "")
        (line,) = result.err.splitlines()
        assert line.startswith("sparsight: ")
        return line.removeprefix("sparsight: ")

    return call
