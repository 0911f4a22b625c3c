"""`sparsight serve`: output, files, refusals."""

import json
from pathlib import Path

import pandas as pd
import pytest

from simulator.glossary import GLOSSARY

GPU = ("serve", "--system", "gpu-only", "--requests", "alpaca", "--count", "12", "--rate", "50")
TRACE = "arrival_s,input_tokens,output_tokens\n0,10,3\n0.5,20,2\n"


def test_the_json_has_every_request_and_every_key_a_definition(sparsight) -> None:
    found = sparsight(*GPU, "--json").json
    assert found["requests"] == len(found["per_request"]) == 12
    assert found["output_tokens"] == sum(row["output_tokens"] for row in found["per_request"])
    keys = {*found, *found["per_request"][0], *found["latency_s"]}
    assert keys <= set(GLOSSARY)


def test_the_table_names_throughput_and_times(sparsight) -> None:
    out = sparsight(*GPU).out
    for text in ("tokens/s", "requests/s", "time to first token", "p99", "pre-emptions"):
        assert text in out


def test_a_seed_repeats_a_run(sparsight) -> None:
    runs = [sparsight(*GPU, "--json", "--seed", seed).out for seed in ("1", "1", "2")]
    assert runs[0] == runs[1] != runs[2]


def test_files_have_a_row_a_request_and_a_row_an_iteration(sparsight, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(TRACE)
    requests, rounds, line = (tmp_path / name for name in ("r.csv", "i.csv", "t.json"))
    result = sparsight(
        "serve", "--system", "gpu-only", "--requests", trace, "--json",
        "--csv", requests, "--iterations", rounds, "--timeline", line,
    )  # fmt: skip
    frame = pd.read_csv(requests)
    assert frame.output_tokens.tolist() == [3, 2]
    assert set(frame.columns) | set(pd.read_csv(rounds).columns) <= set(GLOSSARY)
    assert len(pd.read_csv(rounds)) == result.json["iterations"]
    assert json.loads(line.read_text())["traceEvents"]


def test_devices_and_fields_are_set(sparsight) -> None:
    found = sparsight(*GPU, "--json", "--set", "device=h100", "--tp", "2").json
    assert (found["config"]["device"], found["config"]["tensor_parallel"]) == ("h100", 2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--requests", "sharegpt", "--count", "0"], "count must be at least 1 request, not 0"),
        (["--requests", "sharegpt", "--rate", "-1"], "rate must be a positive number"),
        (["--requests", "sharegpt", "--seed", "-1"], "--seed must be at least 0, not -1"),
        (["--requests", "sharegpt", "--batch", "0"], "batch must be at least 1, not 0"),
        (["--requests", "missing.csv"], "cannot read missing.csv"),
        (["--requests", "missing.csv", "--rate", "3"], "--rate applies to requests drawn from"),
        (["--requests", "alpaca", "--within", "0.1"], "--within does not apply to gpu-only"),
        (["--requests", "alpaca", "--model", "gpt3-7"], "did you mean gpt3-7b?"),
        (["--requests", "alpaca", "--set", "model=gpt3-7b"], "--set model cannot be used here"),
        (["--requests", "alpaca", "--set", "devise=h100"], "did you mean device?"),
        (["--requests", "alpaca", "--csv", "no/such/r.csv"], "there is no folder"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(refused, arguments, sentence: str) -> None:
    assert sentence in refused("serve", "--system", "gpu-only", *arguments)


def test_a_bad_trace_names_its_line(refused, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(TRACE + "0.6,-4,1\n")
    sentence = refused("serve", "--system", "npu-pim", "--requests", trace)
    assert sentence == f"{trace} line 4: input_tokens must be at least 1, not -4"


def test_a_request_longer_than_the_cache_names_its_line(refused, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(TRACE + "1,2000000,1\n")
    sentence = refused("serve", "--system", "neupims", "--requests", trace)
    assert f"{trace} line 4: 2000000 tokens in the cache are more than neupims" in sentence


@pytest.mark.parametrize("units", [0, 99_999_999])
def test_prefill_units_must_be_there_and_countable(refused, units: int) -> None:
    arguments = ("serve", "--system", "neupims", "--requests", "alpaca", "--prefill-units", units)
    assert refused(*arguments) == f"--prefill-units must be 1 to 65536, not {units}"


def test_two_files_need_two_places(refused, tmp_path: Path) -> None:
    both = tmp_path / "both.csv"
    assert "is named for two outputs" in refused(*GPU, "--csv", both, "--iterations", both)
    assert not both.exists()
