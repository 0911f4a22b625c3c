"""From the weights of a transformer, by name and shape, to its layers.

Weight files hold no graph. Their names tell the part that each matrix plays in its block; heads and
vocabulary come from the metadata beside them. *Exact*: every weight's product. *Approximate*: a
block is attention and feed-forward, each with a normalisation and a skip connection, whatever their
order. Matrices that play no part known here get one row a sequence, and a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from workloads.errors import InputError
from workloads.layers import Attention, Embedding, Layer, Linear, Vector
from workloads.network import Network
from workloads.networks._blocks import residual

PARTS = (
    ("qkv", r"(attn_)?qkv(_proj)?|c_attn|in_proj|query_key_value"),
    ("q", r"attn_q|q_proj|query|q_lin"),
    ("k", r"attn_k|k_proj|key|k_lin"),
    ("v", r"attn_v|v_proj|value|v_lin"),
    ("o", r"attn_output|o_proj|out_proj|attention\.output\.dense|out_lin|attn\.c_proj|attn\.proj"),
    ("gate", r"ffn_gate|gate_proj"),
    ("up", r"ffn_up|up_proj|intermediate\.dense|fc1|lin1|c_fc|linear1"),
    ("down", r"ffn_down|down_proj|output\.dense|fc2|lin2|mlp\.c_proj|linear2"),
)
_EMBEDDINGS = re.compile(r"(^|\.)(token_embd|embed_tokens|wte|wpe|\w*embeddings?|embedding)(\.|$)")
_HEAD = re.compile(r"(^|\.)(lm_head|output|cls\.predictions\.decoder)$")
_BLOCK = re.compile(r"^(?P<before>.*?)\.?(?P<number>\d+)\.(?P<part>.+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What the metadata beside the weights says."""

    heads: int
    kv_heads: int
    norm: str
    activation: str
    rotary: bool
    context: int
    source: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """A weight matrix by the name of its layer; `out` rows, `features` columns."""

    layer: str
    out: int
    features: int
    bias: bool = False


def network_of(
    path: Path,
    matrices: Mapping[str, Matrix],
    known: Hyperparameters,
    *,
    batch: int,
    tokens: int,
) -> tuple[Network, tuple[str, ...]]:
    """Return the network and notes about what was not understood.

    Raises `InputError` if no block is recognised, or if there are more tokens than positions.
    """
    if not 1 <= tokens <= known.context:
        raise InputError(
            f"tokens of {path.name} must lie between 1 and {known.context}, not {tokens}"
        )
    tables = {n: m for n, m in matrices.items() if _EMBEDDINGS.search(n)}
    heads = {n: m for n, m in matrices.items() if _HEAD.search(n) and n not in tables}
    rest = {n: m for n, m in matrices.items() if n not in tables and n not in heads}
    blocks, strays = _blocks(rest)
    if not blocks:
        raise InputError(
            f"{path} must hold blocks of attention and feed-forward weights, but none of its "
            f"{len(matrices)} matrices is named like one"
        )
    layers: list[Layer] = []
    if tables:
        layers.append(_embedding(tables, tokens))
    for name, parts in blocks.items():
        layers += _block(path, name, parts, known, tokens)
    layers += [Linear(name=m.layer, in_features=m.features, out_features=m.out) for m in strays]
    layers += _head(tables, heads, tokens)
    network = Network(
        name=path.stem,
        source=known.source,
        input=f"sequence of {tokens} tokens",
        batch=batch,
        layers=tuple(layers),
    )
    names = ", ".join(m.layer for m in strays)
    notes = (f"taken as linear layers of one row a sequence: {names}",) if strays else ()
    return network, notes


def _blocks(
    matrices: Mapping[str, Matrix],
) -> tuple[dict[str, dict[str, Matrix]], list[Matrix]]:
    """Sort matrices into numbered blocks by the part they play; return what is left over."""
    blocks: dict[str, dict[str, Matrix]] = {}
    strays = []
    for name, matrix in matrices.items():
        match = _BLOCK.match(name)
        part = _part(match["part"]) if match else None
        if match is None or part is None:
            strays.append(matrix)
            continue
        parts = blocks.setdefault(f"{match['before']}.{match['number']}".strip("."), {})
        if part in parts:
            strays.append(matrix)
        else:
            parts[part] = matrix
    ordered = sorted(blocks.items(), key=lambda item: _numbers(item[0]))
    return dict(ordered), strays


def _numbers(name: str) -> tuple[str, int]:
    head, _, number = name.rpartition(".")
    return head, int(number) if number.isdecimal() else 0


def _part(text: str) -> str | None:
    for part, pattern in PARTS:
        if re.search(rf"(^|\.)({pattern})$", text):
            return part
    return None


def _block(
    path: Path, name: str, parts: Mapping[str, Matrix], known: Hyperparameters, tokens: int
) -> Iterator[Layer]:
    """Yield the layers of a block; either half may be missing."""
    linear = {p: _linear(m, tokens) for p, m in parts.items()}
    if {"q", "k", "v"} <= linear.keys() or "qkv" in linear:
        dim = (parts.get("q") or parts["qkv"]).features
        attention = _attention(path, name, parts, linear, known, tokens)
        norm = _norm(f"{name}.norm1", known, tokens, dim)
        yield from residual(f"{name}.skip1", tokens * dim, norm, *attention)
    if "up" in linear and "down" in linear:
        hidden = parts["up"].out
        dim = parts["up"].features
        kind = "swiglu" if "gate" in linear else known.activation
        act = Vector(name=f"{name}.act", kind=kind, elements=tokens * hidden)
        feed: list[Layer] = [linear[p] for p in ("gate", "up") if p in linear]
        feed += [act, linear["down"]]
        norm = _norm(f"{name}.norm2", known, tokens, dim)
        yield from residual(f"{name}.skip2", tokens * dim, norm, *feed)


def _attention(
    path: Path,
    name: str,
    parts: Mapping[str, Matrix],
    linear: Mapping[str, Linear],
    known: Hyperparameters,
    tokens: int,
) -> Iterator[Layer]:
    inner = parts["q"].out if "q" in parts else parts["qkv"].out // 3
    if inner % known.heads:
        raise InputError(
            f"heads of {path.name} must divide the {inner} outputs of its queries, "
            f"not {known.heads}"
        )
    yield from (linear[p] for p in ("qkv", "q", "k", "v") if p in linear)
    if known.rotary:
        rotated = inner + (parts["k"].out if "k" in parts else inner)
        yield Vector(name=f"{name}.rotary", kind="rotary", elements=tokens * rotated)
    yield Attention(
        name=f"{name}.attn",
        heads=known.heads,
        q_len=tokens,
        kv_len=tokens,
        head_dim=inner // known.heads,
        kv_heads=known.kv_heads,
    )
    if "o" in linear:
        yield linear["o"]


def _linear(matrix: Matrix, rows: int) -> Linear:
    return Linear(
        name=matrix.layer,
        in_features=matrix.features,
        out_features=matrix.out,
        rows=rows,
        bias=matrix.bias,
    )


def _norm(name: str, known: Hyperparameters, tokens: int, dim: int) -> Vector:
    parameters = dim if known.norm == "rmsnorm" else 2 * dim
    return Vector(name=name, kind=known.norm, elements=tokens * dim, parameters=parameters)


def _embedding(tables: Mapping[str, Matrix], tokens: int) -> Embedding:
    dims = {matrix.features for matrix in tables.values()}
    dim = max(dims)
    rows = tuple(m.out for m in tables.values() if m.features == dim)
    return Embedding(name="embedding", tokens=tokens, dim=dim, table_rows=rows)


def _head(
    tables: Mapping[str, Matrix], heads: Mapping[str, Matrix], tokens: int
) -> Iterator[Layer]:
    """Yield the classifier over the vocabulary: weights of its own, or those of a sole table."""
    if heads:
        matrix = next(iter(heads.values()))
        head = replace(_linear(matrix, tokens), classifier=True)
    elif len(tables) == 1:
        matrix = next(iter(tables.values()))
        head = replace(_linear(matrix, tokens), name="head", bias=False, classifier=True, tied=True)
    else:
        return
    yield head
    yield Vector(name="loss", kind="loss", elements=tokens * head.out_features)
