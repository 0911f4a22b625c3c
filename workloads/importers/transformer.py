"""From the weights of a transformer, by name and shape, to its layers.

Weight files hold no graph. Their names tell the part that each matrix plays in its block; heads and
vocabulary come from the metadata beside them. *Exact*: every weight's product. *Approximate*: a
block is attention and feed-forward, each with a normalisation and a skip connection, whatever their
order. Matrices that play no part known here get one row a sequence, and a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workloads.errors import InputError
from workloads.importers.transformer_parts import Block, Matrix, Sorted, sort_out, word_table
from workloads.layers import Attention, Embedding, Layer, Linear, Vector
from workloads.network import Network
from workloads.networks._blocks import residual
from workloads.rounding import ceil_div


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
    tokens: int | None = None
    """Tokens unless the user says otherwise; those of an image follow from its patches."""

    experts_per_token: int = 1
    language_model: bool = False
    """Whether the model has a head over the vocabulary, of tied weights if the file holds none."""


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
    found = sort_out(matrices)
    if not found.blocks:
        raise InputError(
            f"{path} must hold blocks of attention and feed-forward weights, but none of its "
            f"{len(matrices)} matrices is named like one"
        )
    layers: list[Layer] = [_embedding(found.tables, tokens)] if found.tables else []
    layers += [_linear(m, max(1, tokens - 1)) for m in found.patches]
    for name, block in found.blocks.items():
        layers += _block(path, name, block, known, tokens)
    layers += [_linear(m, tokens) for m in found.each_token]
    layers += [
        Linear(name=m.layer, in_features=m.features, out_features=m.out) for m in found.strays
    ]
    layers += _head(found, known, tokens)
    network = Network(
        name=path.stem,
        source=known.source,
        input=f"sequence of {tokens} tokens",
        batch=batch,
        layers=tuple(layers),
    )
    names = ", ".join(m.layer for m in found.strays)
    notes = [f"taken as linear layers of one row a sequence: {names}"] if names else []
    if any(block.experts_in for block in found.blocks.values()):
        notes.append(
            f"tokens are taken to be spread evenly, {known.experts_per_token} experts each"
        )
    return network, tuple(notes)


def _block(
    path: Path, name: str, block: Block, known: Hyperparameters, tokens: int
) -> Iterator[Layer]:
    """Yield the layers of a block; either half may be missing."""
    parts = block.parts
    if {"q", "k", "v"} <= parts.keys() or "qkv" in parts:
        dim = (parts.get("q") or parts["qkv"]).features
        attention = _attention(path, name, parts, known, tokens)
        norm = _norm(f"{name}.norm1", known, tokens, dim)
        yield from residual(f"{name}.skip1", tokens * dim, norm, *attention)
    feed = [*_feed_forward(name, parts, known, tokens), *_experts(name, block, known, tokens)]
    if feed:
        inputs = parts.get("up") or parts.get("gateup") or block.experts_in[0]
        norm = _norm(f"{name}.norm2", known, tokens, inputs.features)
        yield from residual(f"{name}.skip2", tokens * inputs.features, norm, *feed)


def _feed_forward(
    name: str, parts: Mapping[str, Matrix], known: Hyperparameters, tokens: int
) -> Iterator[Layer]:
    """Yield what every token goes through; gate and up may be one matrix."""
    if "down" not in parts or not {"up", "gateup"} & parts.keys():
        return
    gated = bool({"gate", "gateup"} & parts.keys())
    kind = "swiglu" if gated else known.activation
    yield from (_linear(parts[p], tokens) for p in ("gateup", "gate", "up") if p in parts)
    yield Vector(name=f"{name}.act", kind=kind, elements=tokens * parts["down"].features)
    yield _linear(parts["down"], tokens)


def _experts(name: str, block: Block, known: Hyperparameters, tokens: int) -> Iterator[Layer]:
    """Yield the router and the experts, each with its even share of the tokens."""
    if not block.experts_in or not block.experts_out:
        return
    chosen = tokens * known.experts_per_token
    rows = ceil_div(chosen, len(block.experts_out))
    hidden = block.experts_out[0].features
    yield from (_linear(router, tokens) for router in block.routers)
    yield from (_linear(matrix, rows) for matrix in block.experts_in)
    yield Vector(name=f"{name}.experts.act", kind="swiglu", elements=chosen * hidden)
    yield from (_linear(matrix, rows) for matrix in block.experts_out)


def _attention(
    path: Path, name: str, parts: Mapping[str, Matrix], known: Hyperparameters, tokens: int
) -> Iterator[Layer]:
    inner, kv_heads = _heads(parts, known)
    if inner % known.heads:
        raise InputError(
            f"heads of {path.name} must divide the {inner} outputs of its queries, "
            f"not {known.heads}"
        )
    yield from (_linear(parts[p], tokens) for p in ("qkv", "q", "k", "v") if p in parts)
    head_dim = inner // known.heads
    if known.rotary:
        rotated = inner + kv_heads * head_dim
        yield Vector(name=f"{name}.rotary", kind="rotary", elements=tokens * rotated)
    yield Attention(
        name=f"{name}.attn",
        heads=known.heads,
        q_len=tokens,
        kv_len=tokens,
        head_dim=head_dim,
        kv_heads=kv_heads,
    )
    if "o" in parts:
        yield _linear(parts["o"], tokens)


def _heads(parts: Mapping[str, Matrix], known: Hyperparameters) -> tuple[int, int]:
    """Return outputs of the queries, and heads of keys and values.

    In one matrix, what is left beside queries as wide as the model is shared by keys and values.
    """
    if "q" in parts:
        return parts["q"].out, known.kv_heads
    whole, dim = parts["qkv"].out, parts["qkv"].features
    rest, head_dim = whole - dim, dim // known.heads
    if head_dim and dim % known.heads == 0 and rest > 0 and rest % (2 * head_dim) == 0:
        return dim, rest // (2 * head_dim)
    return whole // 3, known.heads


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


def _embedding(tables: Sequence[Matrix], tokens: int) -> Embedding:
    dim = max(matrix.features for matrix in tables)
    rows = tuple(matrix.out for matrix in tables if matrix.features == dim)
    return Embedding(name="embedding", tokens=tokens, dim=dim, table_rows=rows)


def _head(found: Sorted, known: Hyperparameters, tokens: int) -> Iterator[Layer]:
    """Yield the classifier over the vocabulary: weights of its own, or those of a table."""
    if found.heads:
        head = replace(_linear(found.heads[0], tokens), classifier=True)
    elif len(found.tables) == 1 or (found.tables and known.language_model):
        matrix = word_table(found.tables)
        head = replace(_linear(matrix, tokens), name="head", bias=False, classifier=True, tied=True)
    else:
        return
    yield head
    yield Vector(name="loss", kind="loss", elements=tokens * head.out_features)
