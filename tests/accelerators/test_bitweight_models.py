"""Time from the digits that a trace or a model carries: values, histograms, or an assumption."""

import csv
import importlib
import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dataflow.digits import nonzero_counts, normal_pmf, quantise
from dataflow.digits.tables import mask_table
from simulator.accelerators import bitweight
from simulator.accelerators.bitweight import Config, Operands, kept, statistical
from simulator.accelerators.bitweight.operands import Given
from simulator.accelerators.bitweight.synthesis import find
from simulator.cli import main
from tests.package_models import on_each
from workloads import InputError, Pass, Unstructured, VectorOp, Workload, gemm
from workloads.importers import read_model
from workloads.operand_values import ValueHistograms, line_histograms, with_tensors
from workloads.trace import read_shipped, write_trace

RECORDED = Path(__file__).parents[2] / "sim_results" / "bitweight"


def run(config: Config, work: Workload | Operands):
    return bitweight.simulate(config, bitweight.schedule(config, work))


def integers(*shape: int, std: float = 24.4, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(0, std, shape)
    return np.clip(np.rint(drawn), -127, 127).astype(np.int8)


def carrying(m: int, k: int, n: int, **tensors: np.ndarray) -> Workload:
    """Return one product with the values of X (rows), W (in, out) or of a histogram."""
    named = {name.replace("_", "."): Given(array) for name, array in tensors.items()}
    return with_tensors(gemm(m, k, n, dtype="int8"), named)


def test_a_trace_with_values_takes_the_time_of_its_operands(tmp_path: Path, capsys) -> None:
    a, b = integers(40, 50), integers(50, 20, seed=1)
    path = tmp_path / "one.trace"
    write_trace(gemm(40, 50, 20, dtype="int8"), path, {"gemm.X": a, "gemm.W": b})
    exact = run(Config(engine="opt4e"), Operands(left=a, right=b))
    for arguments in (["--trace", str(path)], ["--model", str(path)]):
        assert main(["run", "bitweight", "--engine", "opt4e", "--json", *arguments]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["cycles"] == exact.cycles
        assert printed["operations"][0]["digits_from"] == "values"
        assert "digits of 1 of 1 products come from values" in " ".join(printed["notes"])


def test_the_operand_with_known_digits_is_encoded_and_the_product_transposed() -> None:
    w = integers(50, 20)
    known = run(Config(), carrying(40, 50, 20, gemm_W=w))
    turned = run(Config(), Operands(left=np.ascontiguousarray(w.T), right=integers(50, 40)))
    assert known.columns["encoded"] == ["right"]
    assert known.compute_cycles == turned.compute_cycles
    assert known.extra["steps"] == turned.extra["steps"]
    assert known.energy_j == pytest.approx(turned.energy_j)


def test_of_two_known_operands_the_left_one_is_encoded_unless_the_config_says() -> None:
    work = carrying(40, 50, 20, gemm_X=integers(40, 50, std=5), gemm_W=integers(50, 20, std=50))
    assert run(Config(), work).columns["encoded"] == ["left"]
    thin = nonzero_counts(integers(40, 50, std=5), "ent", 8).mean()
    assert run(Config(encoded="left"), work).extra["digits_per_operand"] == pytest.approx(thin)
    dense = nonzero_counts(integers(50, 20, std=50), "ent", 8).mean()
    assert run(Config(encoded="right"), work).extra["digits_per_operand"] == pytest.approx(dense)


def test_what_a_trace_does_not_carry_is_assumed_and_said() -> None:
    report = run(Config(operand_std=30.0), gemm(8, 8, 8))
    assert report.columns["digits_from"] == ["assumed"]
    assert (
        "digits of 1 of 1 products are assumed: operands drawn from a normal distribution of "
        "deviation 30 at INT8 (operand_std)" in report.notes
    )


def test_a_float_tensor_needs_a_quantiser_and_its_scale_is_said() -> None:
    w = np.random.default_rng(0).standard_normal((50, 20)) * np.arange(1, 21)
    work = carrying(40, 50, 20, gemm_W=w)
    with pytest.raises(InputError) as error:
        bitweight.schedule(Config(), work)
    assert str(error.value) == (
        "right operand must be integers, not float64: choose how to scale it by --quantiser "
        "tensor or channel, because the scale decides the digits"
    )
    for quantiser, axis in (("tensor", None), ("channel", 1)):
        for percentile in (100.0, 99.0):
            config = Config(quantiser=quantiser, percentile=percentile)
            values = quantise(w, channel_axis=axis, percentile=percentile).values
            report = run(config, work)
            assert report.extra["digits_per_operand"] == pytest.approx(
                nonzero_counts(values, "ent", 8).mean()
            )
            assert f"covers {percentile:g} % of the magnitudes" in " ".join(report.notes)


def test_the_scale_of_a_tensor_that_is_only_counted_is_said_too() -> None:
    """A factor of a weight has other sizes than the weight whose values stand for it."""
    w = np.random.default_rng(0).standard_normal((50, 20))
    report = run(Config(quantiser="tensor"), carrying(40, 50, 10, gemm_W=w))
    assert report.columns["digits_from"] == ["histogram"]
    assert "floats are scaled to 8 bits per tensor" in " ".join(report.notes)


def test_a_plain_array_needs_no_quantiser_and_reads_no_values() -> None:
    report = run(Config(engine="mac"), carrying(40, 50, 20, gemm_W=np.ones((50, 20))))
    assert report.columns["digits_from"] == ["unused"]


def test_histograms_stand_for_values_drawn_from_them() -> None:
    """Lines of very different magnitude: classes keep their spread, one histogram loses it."""
    scale = np.geomspace(1, 60, 512)[:, None]
    errors = {1: [], 8: []}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        drawn = np.rint(rng.permutation(scale) * rng.standard_normal((512, 300)))
        lines = np.clip(drawn, -127, 127).astype(np.int8)
        exact = run(Config(), carrying(512, 300, 32, gemm_X=lines)).compute_cycles
        for classes, found in errors.items():
            counts = line_histograms(lines[None], 8, classes).counts
            counted = carrying(512, 300, 32, gemm_left_histogram=counts)
            report = run(Config(), counted)
            assert report.columns["digits_from"] == ["histogram"]
            found.append(report.compute_cycles / exact - 1)
    assert abs(np.mean(errors[8])) < 0.02
    assert np.mean(errors[1]) < -0.1


def test_a_histogram_of_another_width_is_refused() -> None:
    work = carrying(4, 4, 4, gemm_left_histogram=np.ones((1, 16), np.int64))
    with pytest.raises(InputError, match="left operand of gemm has histograms of 4 bits, not of"):
        bitweight.schedule(Config(), work)
    assert run(Config(width=4), work).extra["digits_per_operand"] > 0


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_steps_of_a_group_at_all_positions_are_the_sum_over_its_patterns(size: int) -> None:
    """Exhaustive: every group of `size` operands of four bits, two positions."""
    pmf = normal_pmf(2.0, 4)
    masks = np.roll(mask_table("ent", 4), 8).astype(int)
    expected = np.zeros(2 * size + 1)
    for group in itertools.product(range(16), repeat=size):
        per_position = [max(1, sum(masks[v] >> i & 1 for v in group)) for i in (0, 1)]
        expected[sum(per_position)] += np.prod(pmf[list(group)])
    table = np.array([statistical.masks_of(pmf, 4)] * 2)
    for found in statistical.group_totals(table, size):
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_line_of_one_lane_has_the_variance_of_its_groups() -> None:
    """Digit positions of a value depend on each other: taken apart, the spread would be wrong."""
    line = statistical.line(statistical.assumed(24.4, 8), 400, 1)
    lines = integers(20_000, 400, seed=3)
    from simulator.accelerators.bitweight import kernels

    steps = kernels.row_steps(kernels.group_steps(lines, mask_table("ent", 8), 4, 100), 1)
    assert line.mean == pytest.approx(steps.mean(), rel=1e-3)
    assert line.variance == pytest.approx(steps.var(), rel=0.05)


def test_energy_follows_the_steps() -> None:
    """A working element takes its measured energy of a cycle; of a tile, each column a step."""
    for engine, lanes in (("opt4c", 1), ("opt4e", 4)):
        config = Config(engine=engine, rows=8, cols=8)
        report = run(config, carrying(16, 64, 20, gemm_X=integers(16, 64)))
        per_tile = report.extra["steps"] / 3  # 20 columns: tiles of 8, 8 and 4
        element, front = find(engine), find("column_front")
        assert report.energy_pj["elements"] == pytest.approx(
            per_tile * 20 * element.energy_per_op_pj * element.ops_per_cycle
        )
        assert report.energy_pj["encoders"] == pytest.approx(
            per_tile * 3 * lanes * front.energy_per_op_pj * front.ops_per_cycle
        )


def test_the_shipped_int8_trace_carries_the_digits_of_its_weights() -> None:
    work = read_shipped("minilm-int8")
    counted = [op for op in work.matmuls if isinstance(op.right.values, ValueHistograms)]
    assert len(counted) == 37
    for op in counted:
        assert int(op.right.values.counts.sum()) == op.k * op.n
    report = run(Config(engine="opt4e"), work)
    origins = dict(zip(report.columns["name"], report.columns["digits_from"], strict=True))
    assert {origins[op.name] for op in counted} == {"histogram"}
    assert set(origins.values()) == {"histogram", "assumed", ""}  # attention, vector work


def cycles_of(report, names: list[str]) -> dict[str, int]:
    columns = report.columns["name"], report.columns["compute_cycles"]
    return {name: cycles for name, cycles in zip(*columns, strict=True) if name in names}


@pytest.fixture
def digits_script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script that makes the recorded tables and the shipped INT8 trace."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    return importlib.import_module("bitweight_digits")


@on_each("minilm", "speech-embedding")
def test_histograms_of_eight_classes_are_close_to_the_values(
    model: str, digits_script: ModuleType
) -> None:
    """The whole model within 0.5 %, every product of several tiles within 2 %.

    The slowest line of a single tile is one draw, whose spread no expectation has. Of minilm the
    histograms are those that are shipped.
    """
    config = Config(engine="opt4c", quantiser="channel", encoded="right")
    values = read_model(model, inference=True)
    if model == digits_script.TRACED:
        counted = read_shipped("minilm-int8")
    else:
        counted = digits_script.with_integers(values, lambda _, lines: line_histograms(lines, 8))
    lines = {
        op.name: op.n for op in counted.matmuls if isinstance(op.right.values, ValueHistograms)
    }
    exact, expected = (cycles_of(run(config, work), [*lines]) for work in (values, counted))
    assert sum(expected.values()) == pytest.approx(sum(exact.values()), rel=0.005)
    several = [name for name, count in lines.items() if count > config.rows]
    assert len(several) > 15
    for name in several:
        assert expected[name] == pytest.approx(exact[name], rel=0.02), name


def recorded(name: str) -> list[dict[str, str]]:
    with (RECORDED / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_recorded_error_of_the_statistical_mode_is_small_with_classes_of_lines() -> None:
    rows = recorded("statistical-error.csv")
    worst = {
        kind: max(abs(float(row["error_percent"])) for row in rows if kind in row["digits_from"])
        for kind in ("8 classes", "4 classes", "one histogram", "assumed")
    }
    assert worst["8 classes"] < 0.2
    assert worst["4 classes"] < 0.5
    assert worst["one histogram"] < 3
    assert worst["one histogram"] < worst["assumed"]


def test_the_recorded_digits_of_real_models_tell_encodings_and_scales_apart() -> None:
    table = {
        (row["model"], row["quantiser"], row["encoding"]): float(row["mean_digits"])
        for row in recorded("model-digits.csv")
    }
    models = {model for model, _, _ in table}
    assert {"open-nsfw", "speech-embedding", "minilm", "smollm2-135m", "pose-sparse"} <= models
    for model in models:
        for quantiser in ("tensor, max-abs", "channel, max-abs"):
            digits = {
                scheme: table[model, quantiser, scheme]
                for scheme in ("twos", "signmag", "booth", "ent", "csd")
            }
            assert min(digits, key=digits.__getitem__) == "csd"
            assert digits["ent"] < digits["booth"]
        assert table[model, "tensor, max-abs", "ent"] < table[model, "channel, max-abs", "ent"]


EARLIER = {  # mean digits that another program counted: twos, signmag, booth, csd
    ("minilm", "channel, max-abs"): (3.987, 2.676, 2.555, 2.291),
    ("smollm2-135m", "channel, max-abs"): (3.990, 2.716, 2.591, 2.322),
    ("open-nsfw", "channel, max-abs"): (4.054, 2.535, 2.439, 2.189),
}


@pytest.mark.parametrize("key", EARLIER, ids=str)
def test_the_recorded_digits_are_those_of_an_independent_count(key: tuple[str, str]) -> None:
    for scheme, expected in zip(("twos", "signmag", "booth", "csd"), EARLIER[key], strict=True):
        (row,) = [
            row
            for row in recorded("model-digits.csv")
            if (row["model"], row["quantiser"], row["encoding"]) == (*key, scheme)
        ]
        assert float(row["mean_digits"]) == pytest.approx(expected, abs=0.0011)


@on_each("face-sparse", "speech-embedding")
def test_the_recorded_digits_are_made_again(model: str, digits_script: ModuleType) -> None:
    made = digits_script.model_digits((model,))
    kept = [row for row in recorded("model-digits.csv") if row["model"] == model]
    assert [{key: str(value) for key, value in row.items()} for row in made] == kept


def test_model_takes_batch_tokens_and_inference_and_refuses_the_rest(capsys) -> None:
    trace = ["run", "bitweight", "--model", "minilm-int8", "--json"]
    assert main([*trace, "--inference"]) == 0
    assert json.loads(capsys.readouterr().out)["workload"] == "minilm-int8"
    for more, sentence in (
        (["--batch", "4"], "fixes its batch; leave --batch out"),
        (["--method", "bdwp:2:8"], "--method cannot be combined with --model; give one"),
        (["--operands", "a.npy", "b.npy"], "--model cannot be combined with --operands"),
        (["--gemm", "1,2,3"], "--gemm cannot be combined with --model; give one"),
    ):
        assert main([*trace, *more]) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoded": "both"}, "encoded must be one of known, left, right, not 'both'"),
        ({"quantiser": "row"}, "quantiser must be one of none, tensor, channel, not 'row'"),
        ({"percentile": 0.0}, "percentile must lie above 0 and at most at 100, not 0.0"),
    ],
)
def test_choices_about_digits_that_do_not_exist_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        Config(**settings)
    assert str(error.value) == message


def test_the_dense_baseline_does_not_depend_on_the_encoded_side() -> None:
    work = carrying(40, 50, 20, gemm_W=integers(50, 20))
    plain = replace(work, operations=gemm(40, 50, 20, dtype="int8").operations)
    assert run(Config(engine="mac"), work).cycles == run(Config(engine="mac"), plain).cycles


@pytest.mark.parametrize("engine", ["opt4c", "opt4e", "laconic"])
@pytest.mark.parametrize("quantiser", ["tensor", "channel"])
def test_results_are_those_of_a_tensor_that_is_read_anew(
    engine: str, quantiser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []

    def read() -> np.ndarray:
        reads.append(1)
        return np.random.default_rng(0).normal(size=(50, 20)).astype(np.float16)

    work = with_tensors(gemm(40, 50, 20, dtype="int8"), {"gemm.W": read})
    config = Config(engine=engine, quantiser=quantiser)
    first, again = run(config, work), run(config, work)
    assert len(reads) == 1
    kept.forget()
    monkeypatch.setattr(kept, "_watched", lambda reader: False)
    anew = run(config, work)
    assert len(reads) > 1
    assert first.columns == again.columns == anew.columns
    assert first.notes == again.notes == anew.notes


def test_integers_beyond_the_bound_are_dropped_and_those_of_a_lost_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept.forget()
    monkeypatch.setattr(kept, "MOST_BYTES", 100)
    readers = [Given(np.full(60, at, np.int8)) for at in range(2)]
    for reader in readers:
        kept.integers(reader, "key", reader)
    assert [each[0] for each in kept._integers.values()] == [1]
    del reader, readers
    assert not kept._integers


def test_fused_work_moves_its_bytes_while_the_product_leaves_memory_idle() -> None:
    skip = VectorOp(
        name="skip",
        layer="skip",
        pass_=Pass.FF,
        kind="add",
        elements=4096,
        read_bytes=8192,
        fused=True,
    )
    product = gemm(64, 4096, 64)
    both = replace(product, operations=(*product, skip))
    alone, fused = (
        bitweight.simulate(Config(), bitweight.schedule(Config(), work)) for work in (product, both)
    )
    assert fused.dram_bytes == alone.dram_bytes + skip.read_bytes
    assert fused.cycles == alone.cycles
    slow = Config(dram_bytes_per_s=1e8)
    late = bitweight.simulate(slow, bitweight.schedule(slow, both))
    assert late.cycles >= late.dram_bytes * late.clock_hz / slow.dram_bytes_per_s


def test_products_of_masked_operands_run_dense_and_say_what_was_useful() -> None:
    (op,) = gemm(64, 64, 64)
    masked = replace(op, right=replace(op.right, pattern=Unstructured(0.25)))
    report = bitweight.simulate(
        Config(), bitweight.schedule(Config(), Workload(name="masked", operations=(masked,)))
    )
    assert report.useful_macs == 64**3 // 4
    assert report.columns["issued_macs"] == [64**3]
