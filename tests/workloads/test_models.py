"""A model is found by a file, a name or a function, and an option without use is refused."""

from pathlib import Path

import pytest

from workloads import InputError, Pass, networks
from workloads.importers import packages
from workloads.models import find_model, is_name, names
from workloads.trace import read_trace, shipped


def test_a_name_is_a_package_model_a_network_or_a_trace() -> None:
    assert {*packages.names(), *networks.names(), *shipped()} == set(names())
    step = networks.find("bert-base", batch=2, tokens=16)
    assert find_model("bert-base", batch=2, tokens=16) == step.training_step()
    assert find_model("bert-base", batch=2, tokens=16, inference=True) == step.inference()
    assert find_model("digits-vit") == read_trace(shipped()["digits-vit"])
    graph = find_model("resnet50-onnx", inference=True)
    assert graph.name == "resnet50-onnx, batch 1, inference"


def test_a_function_is_captured(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "def step():\n"
        "    return torch.nn.Linear(8, 2), torch.randn(4, 8), lambda out: out.sum()\n"
    )
    target = f"{tmp_path}/net.py:step"
    assert [op.name for op in find_model(target).matmuls] == ["model.FF", "model.WU"]
    assert {op.pass_ for op in find_model(target, inference=True)} == {Pass.FF}


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("resnet5", {}, "called 'resnet5'; did you mean resnet50?"),
        ("nothing-like-it", {}, "give a file, MODULE:FUNCTION, or a name of"),
        ("a.py:step", {"batch": 4}, "a.py:step chooses its own inputs; leave --batch out"),
        ("resnet50", {"weights_only": True}, "resnet50 is no PyTorch checkpoint; leave --weights-"),
        ("digits-vit", {"tokens": 4}, "fixes its tokens; leave --tokens out"),
    ],
)
def test_what_is_wrong_is_said(text: str, options: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        find_model(text, **options)
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["m.onnx", "folder/model", "net.py:step"])
def test_files_and_functions_are_no_names(text: str) -> None:
    assert not is_name(text)
