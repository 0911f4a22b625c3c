"""The parts that several tables share."""

from __future__ import annotations

from workloads.layers import Attention, Layer, Linear, Vector


def layer_norm(name: str, tokens: int, dim: int) -> Vector:
    """Layer norm with gain and offset."""
    return Vector(name=name, kind="layernorm", elements=tokens * dim, parameters=2 * dim)


def self_attention(
    name: str, tokens: int, dim: int, *, heads: int, head_dim: int, merged: bool, bias: bool
) -> tuple[Layer, ...]:
    """Projections, attention and output; `merged` computes Q, K and V in one product.

    `bias` is that of Q, K and V; the output projection always has one.
    """
    inner = heads * head_dim
    parts = [("qkv", 3 * inner)] if merged else [(part, inner) for part in ("q", "k", "v")]
    return (
        *(
            Linear(
                name=f"{name}.{part}", in_features=dim, out_features=width, rows=tokens, bias=bias
            )
            for part, width in parts
        ),
        Attention(name=f"{name}.attn", heads=heads, q_len=tokens, kv_len=tokens, head_dim=head_dim),
        Linear(name=f"{name}.proj", in_features=inner, out_features=dim, rows=tokens),
    )


def mlp(name: str, tokens: int, dim: int, hidden: int) -> tuple[Layer, ...]:
    """Two linear layers with GELU between them."""
    return (
        Linear(name=f"{name}.fc1", in_features=dim, out_features=hidden, rows=tokens),
        Vector(name=f"{name}.gelu", kind="gelu", elements=tokens * hidden),
        Linear(name=f"{name}.fc2", in_features=hidden, out_features=dim, rows=tokens),
    )


def residual(name: str, elements: int, *layers: Layer) -> tuple[Layer, ...]:
    """`layers` with a skip connection around them."""
    return (
        Vector(name=f"{name}.split", kind="split", elements=elements),
        *layers,
        Vector(name=f"{name}.add", kind="add", elements=elements),
    )
