"""Weights named as each family of transformers names them give the products of its definition.

One block of width 16, four heads of 4, two of keys and values where they are shared, hidden 32.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from workloads import Pass, Workload
from workloads.importers import FP16_NOTE, read_model

TOKENS, DIM, HIDDEN, WORDS, POSITIONS = 8, 16, 32, 40, 64
SHARED = 2 * 4
"""Outputs of keys (or values) with two heads of 4."""

GPT2 = {
    "wte": (WORDS, DIM),
    "wpe": (POSITIONS, DIM),
    "h.0.attn.c_attn": (DIM, 3 * DIM),
    "h.0.attn.c_proj": (DIM, DIM),
    "h.0.mlp.c_fc": (DIM, HIDDEN),
    "h.0.mlp.c_proj": (HIDDEN, DIM),
}
PHI3 = {
    "model.embed_tokens": (WORDS, DIM),
    "model.layers.0.self_attn.qkv_proj": (DIM + 2 * SHARED, DIM),
    "model.layers.0.self_attn.o_proj": (DIM, DIM),
    "model.layers.0.mlp.gate_up_proj": (2 * HIDDEN, DIM),
    "model.layers.0.mlp.down_proj": (DIM, HIDDEN),
    "lm_head": (WORDS, DIM),
}
NEOX = {
    "gpt_neox.embed_in": (WORDS, DIM),
    "gpt_neox.layers.0.attention.query_key_value": (3 * DIM, DIM),
    "gpt_neox.layers.0.attention.dense": (DIM, DIM),
    "gpt_neox.layers.0.mlp.dense_h_to_4h": (HIDDEN, DIM),
    "gpt_neox.layers.0.mlp.dense_4h_to_h": (DIM, HIDDEN),
    "embed_out": (WORDS, DIM),
}
BERT_MLM = {
    "bert.embeddings.word_embeddings": (WORDS, DIM),
    "bert.embeddings.position_embeddings": (POSITIONS, DIM),
    **{f"bert.encoder.layer.0.attention.self.{n}": (DIM, DIM) for n in ("query", "key", "value")},
    "bert.encoder.layer.0.attention.output.dense": (DIM, DIM),
    "bert.encoder.layer.0.intermediate.dense": (HIDDEN, DIM),
    "bert.encoder.layer.0.output.dense": (DIM, HIDDEN),
    "cls.predictions.transform.dense": (DIM, DIM),
}
ATTENTION = TOKENS * 2 * TOKENS * DIM
"""MACs of scores and context, whatever heads share their keys."""

FEED = 2 * DIM * HIDDEN
HEAD = DIM * WORDS


def write(folder: Path, shapes: dict[str, tuple[int, ...]], **config: object) -> Path:
    rng = np.random.default_rng(0)
    tensors = {
        f"{name}.weight": rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    save_file(tensors, folder / "model.safetensors")
    known = {"num_attention_heads": 4, "max_position_embeddings": POSITIONS}
    (folder / "config.json").write_text(json.dumps(known | config))
    return folder / "model.safetensors"


def forward(path: Path, tokens: int | None = TOKENS) -> Workload:
    return read_model(path, tokens=tokens).only(Pass.FF)


@pytest.mark.parametrize(
    ("shapes", "architecture", "weights"),
    [
        (GPT2, "GPT2LMHeadModel", 4 * DIM * DIM + FEED + HEAD),
        (GPT2, "GPT2Model", 4 * DIM * DIM + FEED),
        (PHI3, "Phi3ForCausalLM", 2 * DIM * DIM + 2 * DIM * SHARED + 1.5 * FEED + HEAD),
        (NEOX, "GPTNeoXForCausalLM", 4 * DIM * DIM + FEED + HEAD),
        (BERT_MLM, "BertForMaskedLM", 4 * DIM * DIM + FEED + DIM * DIM + HEAD),
    ],
    ids=["gpt2", "gpt2-without-head", "phi3", "gpt-neox", "bert-masked"],
)
def test_every_weight_is_a_product_with_every_token(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], architecture: str, weights: float
) -> None:
    step = forward(write(tmp_path, shapes, architectures=[architecture]))
    assert step.macs == TOKENS * weights + ATTENTION
    assert step.notes == (FP16_NOTE,)


def test_keys_and_values_in_one_matrix_may_be_shared_by_heads(tmp_path: Path) -> None:
    step = forward(write(tmp_path, PHI3, architectures=["Phi3ForCausalLM"]))
    scores = next(op for op in step.matmuls if op.kind == "attention")
    assert (scores.batch, scores.m, scores.k) == (2, 2 * TOKENS, 4)
    assert "swiglu" in {op.kind for op in step.vector_ops}


def test_matrices_kept_as_inputs_by_outputs_are_turned_round(tmp_path: Path) -> None:
    """Statistics too: FF reduces over the inputs, which are the rows in the file."""
    path = write(tmp_path, GPT2)
    columns = np.zeros((DIM, HIDDEN), np.float32)
    columns[::4] = 1.0  # one input of four
    tensors = {f"{n}.weight": np.ones(s, np.float32) for n, s in GPT2.items()}
    save_file(tensors | {"h.0.mlp.c_fc.weight": columns}, path)
    (up,) = (op for op in forward(path).matmuls if op.layer == "h.0.mlp.c_fc")
    assert (up.k, up.n) == (DIM, HIDDEN)
    assert up.right.statistics is not None
    assert dict(up.right.statistics.nm_energy)["1:4"] == 1.0


def test_experts_get_an_even_share_of_the_tokens(tmp_path: Path) -> None:
    """Two of four experts a token: a token goes through two of them, and the router."""
    block = "model.layers.0."
    experts = {
        f"{block}block_sparse_moe.experts.{e}.{name}": shape
        for e in range(4)
        for name, shape in (("w1", (HIDDEN, DIM)), ("w3", (HIDDEN, DIM)), ("w2", (DIM, HIDDEN)))
    }
    attention = {f"{block}self_attn.{n}_proj": (DIM, DIM) for n in "qkvo"}
    shapes = {**attention, **experts, f"{block}block_sparse_moe.gate": (4, DIM)}
    step = forward(write(tmp_path, shapes, num_experts_per_tok=2))
    assert step.macs == TOKENS * (4 * DIM * DIM + 4 * DIM + 2 * 1.5 * FEED) + ATTENTION
    assert step.notes == ("tokens are taken to be spread evenly, 2 experts each", FP16_NOTE)


def test_the_tokens_of_images_are_their_patches(tmp_path: Path) -> None:
    """Images of 32 x 32 in patches of 16: four, and the token of the class."""
    block = "vit.encoder.layer.0."
    shapes = {
        "vit.embeddings.patch_embeddings.projection": (DIM, 3, 16, 16),
        **{f"{block}attention.attention.{n}": (DIM, DIM) for n in ("query", "key", "value")},
        f"{block}attention.output.dense": (DIM, DIM),
        f"{block}intermediate.dense": (HIDDEN, DIM),
        f"{block}output.dense": (DIM, HIDDEN),
        "classifier": (10, DIM),
    }
    step = forward(write(tmp_path, shapes, image_size=32, patch_size=16), tokens=None)
    patches = 4 * 3 * 16 * 16 * DIM
    assert step.macs == patches + 5 * (4 * DIM * DIM + FEED) + 5 * 2 * 5 * DIM + 10 * DIM
    assert "one row a sequence: classifier" in step.notes[0]


def test_weights_that_are_not_read_are_named(tmp_path: Path) -> None:
    stacked = {"model.layers.0.mlp.experts.gate_up": (4, 2 * HIDDEN, DIM)}
    step = forward(write(tmp_path, {**PHI3, **stacked}))
    assert step.notes == (
        "NOT in this workload: 1 weights of three axes and more, such as "
        "model.layers.0.mlp.experts.gate_up.weight",
        FP16_NOTE,
    )


@pytest.mark.parametrize("architectures", [None, 1, "GPT2LMHeadModel", [None], {"LM": 1}])
def test_the_name_of_the_architecture_may_be_anything(
    tmp_path: Path, architectures: object
) -> None:
    assert forward(write(tmp_path, GPT2, architectures=architectures)).macs
