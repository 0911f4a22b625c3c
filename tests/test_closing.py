"""The closing lines of a run say which models of packages it had."""

import pytest

from tests import closing, package_models
from workloads.importers import packages


def test_models_that_ran_and_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "installed", lambda: ["minilm"])
    (line,) = (line for line in closing.lines(()) if "models of packages" in line)
    assert line.startswith("Tests on models of packages: ran on minilm; not here: face-sparse, ")
    assert "sparsight[real-models]" in line


def test_without_models_there_is_no_test_to_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "installed", list)
    assert package_models.on_each("minilm")(print) is None
    assert package_models.state().startswith("DID NOT RUN; not here: ")


def test_a_test_runs_on_each_model_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "installed", lambda: ["minilm", "open-nsfw", "yolov8n"])
    mark = package_models.on_each("yolov8n", "minilm", "smollm2-135m")
    assert mark.mark.args == ("model", ["minilm", "yolov8n"])
