"""The part that each matrix of a transformer plays, told by the name of its layer.

Names of the common libraries are known: one matrix for each part, or queries, keys and values (gate
and up) in one; experts, numbered within their block, with a router; the library that keeps some
matrices as (in, out).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

PARTS = (
    ("qkv", r"(attn_)?qkv(_proj)?|c_attn|in_proj|query_key_value"),
    ("q", r"attn_q|q_proj|query|q_lin"),
    ("k", r"attn_k|k_proj|key|k_lin"),
    ("v", r"attn_v|v_proj|value|v_lin"),
    (
        "o",
        r"attn_output|o_proj|out_proj|attention\.output\.dense|out_lin|attn\.c_proj|attn\.proj|"
        r"(self_)?attention\.dense",
    ),
    ("gateup", r"gate_up_proj"),
    ("gate", r"ffn_gate|gate_proj"),
    ("up", r"ffn_up|up_proj|intermediate\.dense|fc1|lin1|c_fc|linear1|dense_h_to_4h"),
    ("down", r"ffn_down|down_proj|output\.dense|fc2|lin2|mlp\.c_proj|linear2|dense_4h_to_h"),
    ("router", r"(mlp|block_sparse_moe)\.(gate|router)|shared_expert_gate"),
)
_EXPERT = re.compile(r"(^|\.)experts\.\d+\.(w1|w2|w3|gate_proj|up_proj|down_proj)$")
_DOWN = ("w2", "down_proj")
_PATCH = re.compile(r"patch_embed")
_EMBEDDINGS = re.compile(
    r"(^|\.)(token_embd|embed_(tokens|positions|in)|wte|wpe|\w*embeddings?|embedding)(\.|$)"
)
_NO_WORDS = re.compile(r"position|wpe|token_type")
_HEAD = re.compile(
    r"(^|\.)(lm_head(\.decoder)?|output|cls\.predictions\.decoder|embed_out|vocab_projector)$"
)
_EVERY_TOKEN = re.compile(
    r"(^|\.)(predictions\.transform\.dense|lm_head\.dense|vocab_transform|project_(in|out))$"
)
_BLOCK = re.compile(r"^(?P<before>.*?)\.?(?P<number>\d+)\.(?P<part>.+)$")
_IN_BY_OUT = ("c_attn", "c_proj", "c_fc")


@dataclass(frozen=True, slots=True)
class Matrix:
    """A weight matrix by the name of its layer; `transposed` if the file holds (in, out)."""

    layer: str
    out: int
    features: int
    bias: bool = False
    transposed: bool = False


@dataclass(slots=True)
class Block:
    """The matrices of a block: by their part, several routers, and the two sides of experts."""

    parts: dict[str, Matrix] = field(default_factory=dict)
    routers: list[Matrix] = field(default_factory=list)
    experts_in: list[Matrix] = field(default_factory=list)
    experts_out: list[Matrix] = field(default_factory=list)


@dataclass(slots=True)
class Sorted:
    """All matrices of a file: `patches` read images, `each_token` stands between blocks and head.

    `strays` play no part that is known.
    """

    tables: list[Matrix] = field(default_factory=list)
    patches: list[Matrix] = field(default_factory=list)
    blocks: dict[str, Block] = field(default_factory=dict)
    each_token: list[Matrix] = field(default_factory=list)
    heads: list[Matrix] = field(default_factory=list)
    strays: list[Matrix] = field(default_factory=list)


def word_table(tables: list[Matrix]) -> Matrix:
    """Return the embedding of words among those of positions and types."""
    words = [table for table in tables if not _NO_WORDS.search(table.layer)]
    return max(words or tables, key=lambda table: table.out)


def sort_out(matrices: Mapping[str, Matrix]) -> Sorted:
    """Sort matrices by the part that they play, blocks by their number."""
    found = Sorted()
    for matrix in oriented(matrices):
        for pattern, place in (
            (_PATCH, found.patches),
            (_EMBEDDINGS, found.tables),
            (_HEAD, found.heads),
            (_EVERY_TOKEN, found.each_token),
        ):
            if pattern.search(matrix.layer):
                place.append(matrix)
                break
        else:
            if not _into_block(found.blocks, matrix):
                found.strays.append(matrix)
    found.blocks = dict(sorted(found.blocks.items(), key=lambda item: _numbers(item[0])))
    return found


def oriented(matrices: Mapping[str, Matrix]) -> list[Matrix]:
    """Turn round the matrices of the library that keeps some as (in, out)."""
    turned = any(n.endswith("c_attn") and m.features == 3 * m.out for n, m in matrices.items())
    if not turned:
        return list(matrices.values())
    return [
        replace(m, out=m.features, features=m.out, transposed=True)
        if name.endswith(_IN_BY_OUT)
        else m
        for name, m in matrices.items()
    ]


def _into_block(blocks: dict[str, Block], matrix: Matrix) -> bool:
    """Put a matrix where it belongs in its block; say whether it belongs anywhere."""
    match = _BLOCK.match(matrix.layer)
    if match is None:
        return False
    name, text = f"{match['before']}.{match['number']}".strip("."), match["part"]
    block = blocks.get(name, Block())
    if expert := _EXPERT.search(text):
        (block.experts_out if expert[2] in _DOWN else block.experts_in).append(matrix)
    elif (part := _part(text)) == "router":
        block.routers.append(matrix)
    elif part is None or part in block.parts:
        return False
    else:
        block.parts[part] = matrix
    blocks[name] = block
    return True


def _part(text: str) -> str | None:
    for part, pattern in PARTS:
        if re.search(rf"(^|\.)({pattern})$", text):
            return part
    return None


def _numbers(name: str) -> tuple[str, int]:
    head, _, number = name.rpartition(".")
    return head, int(number) if number.isdecimal() else 0
