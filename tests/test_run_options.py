"""Options that an accelerator's module brings along."""

from types import SimpleNamespace

import pytest

from simulator import accelerators
from simulator.accelerators import systolic
from simulator.run_options import RunOption, parse
from workloads import InputError, gemm

OPTIONS = (
    RunOption(name="--operands", help="arrays", values=("A.npy", "B.npy")),
    RunOption(name="--tp", help="tensor parallel", field="tensor_parallel"),
    RunOption(name="--no-refresh", help="no refresh", values=(), field="refresh", flag_value="no"),
    RunOption(name="--file", help="configuration", base=True),
)


def test_arguments_are_sorted_by_what_they_are_for() -> None:
    parsed = parse(
        OPTIONS, ["--tp=4", "--operands", "a.npy", "b.npy", "--no-refresh", "--file", "x.cfg"]
    )
    assert parsed.settings == {"tensor_parallel": "4", "refresh": "no"}
    assert parsed.workload == {"operands": ("a.npy", "b.npy")}
    assert parsed.base == {"file": ("x.cfg",)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--operands a.npy", "--operands takes A.npy B.npy, not a.npy"),
        ("--operands a.npy --tp 4", "--operands takes A.npy B.npy, not a.npy"),
        ("--no-refresh=1", "--no-refresh takes no value, not 1"),
        ("--tp 4 --tp 8", "--tp is given twice; give it once"),
        ("--operand a b", r"there is no option --operand; did you mean --operands\?"),
        ("--batsh 4", r"there is no option --batsh; did you mean --batch\?"),
        ("stray", "'stray' belongs to no option"),
    ],
)
def test_wrong_arguments_say_what_would_be_right(arguments: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(OPTIONS, arguments.split(), known=["--batch"])


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give `sparsight run` an accelerator with a workload option and a config switch."""
    model = SimpleNamespace(
        Config=systolic.Config,
        schedule=systolic.schedule,
        simulate=systolic.simulate,
        RUN_OPTIONS=(
            RunOption(name="--cube", help="edge of a product", values=("EDGE",)),
            RunOption(name="--tall", help="64 rows", values=(), field="rows", flag_value="64"),
        ),
        workload_from_options=lambda options: gemm(*[int(options["cube"][0])] * 3),
    )
    monkeypatch.setattr("simulator.cli.inputs.find", lambda name: model)


@pytest.mark.usefixtures("toy")
def test_run_reads_the_workload_and_the_config_from_them(capsys) -> None:
    from simulator.cli import main

    assert main(["run", "toy", "--cube", "96", "--tall", "--json"]) == 0
    expected = accelerators.run("systolic", gemm(96, 96, 96), rows=64)
    assert f'"cycles": {expected.cycles},' in capsys.readouterr().out


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--cube 8 --gemm 8,8,8", "--gemm cannot be combined with --cube"),
        ("--cube 8 --method dense", "--method cannot be combined with --cube"),
        ("--cube 8 --tall --set rows=8", "rows is set by its option and by --set"),
        ("--tall", "name a workload: --cube EDGE, or one of --network"),
        ("--cube 8 --batch 4", "--batch cannot be combined with --cube"),
        ("--cube 8 --inference", "--inference cannot be combined with --cube"),
    ],
)
def test_run_refuses_what_would_be_ignored(capsys, arguments: str, message: str) -> None:
    from simulator.cli import main

    assert main(["run", "toy", *arguments.split()]) == 2
    assert message in capsys.readouterr().err
