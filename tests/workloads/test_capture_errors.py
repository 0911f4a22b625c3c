"""What cannot be captured: one sentence that says what, where, and what would be right."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from workloads import InputError  # noqa: E402
from workloads.capture import (  # noqa: E402
    TrainingStep,
    capture_step,
    capture_target,
    capture_to_file,
    capture_training_step,
    load_step,
)
from workloads.trace import read_info, read_tensors, read_trace  # noqa: E402

INPUTS = torch.ones(4, 8)
LABELS = torch.zeros(4, dtype=torch.int64)


class Raises(nn.Module):
    """Its second layer fails."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(9, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


class Apply(nn.Module):
    """A linear layer and then a function."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(8, 8), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.layer(x))


class WithGraph(nn.Module):
    """A linear layer and a sparse matrix that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.register_buffer("graph", torch.eye(4).to_sparse())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sparse.mm(self.graph, self.layer(x))


class FailsBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no gradient here\nsecond line")


def frozen() -> nn.Module:
    return nn.Linear(8, 8).requires_grad_(False)


@pytest.mark.parametrize(
    ("module", "loss", "message"),
    [
        (nn.ReLU(), LABELS, "cannot capture ReLU: it must have a parameter that requires a grad"),
        (frozen(), LABELS, "cannot capture Linear: it must have a parameter that requires a grad"),
        (lambda x: x, LABELS, r"the module to capture must be a torch.nn.Module, not <function"),
        (nn.Linear(8, 8), None, r"the loss of Linear must be one number, not \(4, 8\); give a l"),
        (nn.Linear(8, 8), lambda _: 1.0, "the loss of Linear must be one number, not float"),
        (nn.Linear(8, 8), lambda out: out.detach().sum(), "its loss must depend on a parameter"),
        (
            nn.Linear(8, 8),
            lambda _: torch.ones(1, requires_grad=True).sum(),
            "no parameter got a gradient from the loss",
        ),
        (nn.LazyLinear(2), LABELS, "its tensor 'weight' has no shape yet; run the module once"),
        (WithGraph(), LABELS, "its tensor 'graph' must be a dense tensor, not one of layout torch"),
        (Apply(sys.exit), LABELS, "its forward pass must run on these inputs, but raised SystemEx"),
        (nn.LayerNorm(8), LABELS, "its step must have a matrix product or convolution that is kn"),
        (Raises(), LABELS, r"its forward pass must run on these inputs, but raised RuntimeError: "
                           r"mat1 .* \(in layer 'second'\)"),
        (Apply(FailsBackward.apply), LABELS, "its backward pass must run .* no gradient here"),
        (nn.Linear(8, 8), LABELS[:2], "its loss must run on these inputs, but raised ValueError"),
        (Apply(lambda x: x.to_sparse().to_dense()), LABELS,
         r"cannot capture \w+ on a tensor of layout torch.sparse_coo in layer 'model'"),
        (Apply(lambda x: (x + 1j * x).matmul(torch.ones(8, 8) + 0j).real), LABELS,
         r"on complex numbers of type torch.complex64 in layer 'model'; use dense real"),
        (Apply(lambda x: x * float("nan")), LABELS,
         r"of layer 'layer' in pass (BP|WU): values must be finite, .*capture a step with"),
        (nn.Embedding(9, 4, sparse=True), lambda out: (out @ torch.ones(4, 1)).sum(),
         "on a tensor of layout torch.sparse_coo"),
    ],
)  # fmt: skip
def test_a_step_that_cannot_be_captured_is_an_input_error(
    module: Any, loss: Any, message: str
) -> None:
    inputs = LABELS if isinstance(module, nn.Embedding) else INPUTS
    with pytest.raises(InputError, match=message) as caught:
        capture_training_step(module, inputs, loss)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_a_quantised_model_is_refused() -> None:
    def quantise(x: torch.Tensor) -> torch.Tensor:
        return torch.quantize_per_tensor(x.detach(), 0.1, 0, torch.qint8).dequantize()

    with pytest.raises(InputError, match=r"on a quantised tensor of type torch.qint8 in layer"):
        capture_training_step(Apply(quantise), INPUTS, LABELS)


def test_an_interrupt_is_not_swallowed_and_the_hooks_are_gone() -> None:
    def interrupt(_: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt

    module = Apply(interrupt)
    with pytest.raises(KeyboardInterrupt):
        capture_training_step(module, INPUTS, LABELS)
    assert not module.layer._forward_hooks
    assert module.layer.weight.grad is None


def test_an_unknown_precision_is_named() -> None:
    step = TrainingStep(module=nn.Linear(8, 8), inputs=INPUTS, loss=LABELS, autocast="fp8")
    with pytest.raises(InputError, match="autocast must be bf16, fp16 or empty, not 'fp8'"):
        capture_step(step)


# The function that `sparsight capture` calls

GOOD = """
import torch
from workloads.capture import TrainingStep
number = 3
def pair():
    return torch.nn.Linear(8, 1), torch.ones(4, 8)
def triple():
    return torch.nn.Linear(8, 2), torch.ones(4, 8), torch.zeros(4, dtype=torch.int64)
def step():
    module, inputs, loss = triple()
    return TrainingStep(module=module, inputs={"input": inputs}, loss=loss, name="named")
def nothing():
    return None
def fails():
    raise OSError("the data set is gone")
def leaves():
    raise SystemExit(0)
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(GOOD)
    (tmp_path / "broken.py").write_text("import no_such_library")
    (tmp_path / "wrong.py").write_text("1 +")
    return tmp_path / "net.py"


def test_a_function_may_return_a_step_or_a_triple(target: Path) -> None:
    assert capture_target(f"{target}:step").workload.name == "named"
    assert capture_target(f"{target}:triple").workload.name == "Linear"


def test_a_module_on_the_path_of_python_is_found_by_name(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(target.parent)
    monkeypatch.setattr("sys.path", ["elsewhere"])
    assert isinstance(load_step("net:step"), TrainingStep)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("net.py:gone", r"must have a function 'gone' to capture; it has TrainingStep, pair, "),
        ("net.py:number", "must have a function 'number' to capture"),
        ("net.py:nothing", r"must return a TrainingStep, \(module, inputs\) or .*, not NoneType"),
        ("net.py:fails", "must return a step, but raised OSError: the data set is gone"),
        ("net.py:leaves", "must return a step, but raised SystemExit: 0"),
        ("net.py:pair", r"the loss of Linear must be one number, not \(4, 1\)"),
        ("gone.py:step", r"there is no file .*gone.py to capture from; give file.py:function"),
        ("broken.py:step", "cannot run .*broken.py to capture: No module named 'no_such_library'"),
        ("wrong.py:step", "cannot run .*wrong.py to capture: it raised SyntaxError"),
        ("net.py", r"what to capture must be package.module:function or file.py:function, not"),
        ("net.py:", r"what to capture must be package.module:function or file.py:function, not"),
    ],
)
def test_a_wrong_target_is_named(function: str, message: str, target: Path) -> None:
    with pytest.raises(InputError, match=message):
        capture_target(str(target.parent / function))


def test_a_tensor_to_keep_that_does_not_exist_is_named(target: Path) -> None:
    with pytest.raises(
        InputError, match=r"no tensor to keep is called 'layer\.\*'; names are LAYER"
    ):
        capture_target(f"{target}:step", keep_tensors=("model.*", "layer.*"))


def test_a_missing_module_is_named() -> None:
    with pytest.raises(InputError, match=r"cannot import no_such\.module to capture: No module"):
        capture_target("no_such.module:function")


def test_without_pytorch_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda n: None if n == "torch" else find(n))
    with pytest.raises(InputError, match=r"needs PyTorch; pip install 'sparsight\[torch\]'"):
        capture_target("net:step")


def test_a_capture_is_written_with_the_command_that_makes_it(target: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.trace"
    workload = capture_to_file(f"{target}:step", path, keep_tensors=("model.W", "*.X"))
    assert read_trace(path) == workload
    assert read_info(path).command == (
        f"sparsight capture {target}:step --keep model.W --keep '*.X' -o net.trace"
    )
    shapes = {name: tensor.shape for name, tensor in read_tensors(path).items()}
    assert shapes == {"model.W": (8, 2), "model.X": (4, 8)}


def test_a_failed_capture_writes_nothing(target: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        capture_to_file(f"{target}:pair", tmp_path / "net.trace")
    assert not (tmp_path / "net.trace").exists()


def test_importing_the_capture_does_not_import_pytorch() -> None:
    code = "import sys, workloads.capture, workloads.trace; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
