"""Decoders by their published sizes, and batches of requests: drawn, and read from a file."""

import numpy as np
import pytest

from workloads.errors import InputError
from workloads.llm import DECODERS, read_requests
from workloads.llm.requests import DATASETS, sample_lengths, warm_batch


@pytest.mark.parametrize(
    ("name", "billions"),
    [("gpt3-7b", 6.7), ("gpt3-13b", 13.0), ("gpt3-30b", 30.0), ("gpt3-175b", 174.6),
     ("llama2-7b", 6.7), ("llama2-13b", 13.0), ("llama2-70b", 69.0),
     ("llama3-8b", 8.0), ("llama3-70b", 70.6)],
)  # fmt: skip
def test_decoders_have_the_published_number_of_parameters(name, billions) -> None:
    embedding_twice = (
        DECODERS[name].vocabulary * DECODERS[name].width * (not name.startswith("gpt"))
    )
    found = (DECODERS[name].parameters + embedding_twice) / 1e9
    assert found == pytest.approx(billions, rel=0.02)


@pytest.mark.parametrize(("dataset", "mean"), [("alpaca", 59.2), ("sharegpt", 299.9)])
def test_warm_batches_are_as_long_as_the_published_ones(dataset, mean) -> None:
    """Means of alpaca-bs64-clb and of the first of the ten shipped ShareGPT batches."""
    batch = warm_batch(dataset, 4096, np.random.default_rng(0))
    assert np.mean(batch.lengths) == pytest.approx(mean, rel=0.1)
    assert batch == warm_batch(dataset, 4096, np.random.default_rng(0))
    assert max(batch.lengths) <= 2048


@pytest.mark.parametrize("dataset", DATASETS)
def test_drawn_lengths_have_the_published_means(dataset) -> None:
    prompts, outputs = sample_lengths(DATASETS[dataset], 40_000, np.random.default_rng(0))
    assert prompts.mean() == pytest.approx(DATASETS[dataset].prompt, rel=0.02)
    assert outputs.mean() == pytest.approx(DATASETS[dataset].output, rel=0.03)


def test_a_byte_order_mark_is_no_part_of_a_trace(tmp_path) -> None:
    (tmp_path / "marked.csv").write_text("seq_len,ch_idx\n5,3\n", encoding="utf-8-sig")
    batch = read_requests(tmp_path / "marked.csv")
    assert (batch.lengths, batch.channels) == ((5,), (3,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the header must be seq_len,ch_idx, not nothing"),
        ("seq_len,ch_idx\n", "line 2: there must be at least one request after the header"),
        ("length,channel\n1,2\n", "line 1: the header must be seq_len,ch_idx, not length,channel"),
        ("seq_len,ch_idx\n5,0\n-3,1\n", "line 3: seq_len must be at least 1 token, not -3"),
        ("seq_len,ch_idx\n5,-1\n", "line 2: ch_idx must be at least 0, not -1"),
        ("seq_len,ch_idx\n5\n", "line 2: there must be two values, seq_len and ch_idx, not 1"),
        ("seq_len,ch_idx\nx,1\n", "line 2: seq_len and ch_idx must be whole numbers, not 'x,1'"),
        ("seq_len,ch_idx\n1.5,1\n", "line 2: seq_len and ch_idx must be whole numbers, "
         "not '1.5,1'"),
        ("seq_len,ch_idx\n1_0,1\n", "line 2: seq_len and ch_idx must be whole numbers, "
         "not '1_0,1'"),
        ("seq_len,ch_idx\nnan,1\n", "line 2: seq_len and ch_idx must be whole numbers, "
         "not 'nan,1'"),
    ],
)  # fmt: skip
def test_a_bad_trace_is_one_sentence_with_its_line(tmp_path, text, message) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_requests(path)
    assert str(caught.value) == f"{path} {message}"


def test_a_value_longer_than_any_number_is_refused(tmp_path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("seq_len,ch_idx\n" + "9" * 200_000 + ",0\n")
    with pytest.raises(InputError, match="must be lines of seq_len,ch_idx: field larger than"):
        read_requests(path)
