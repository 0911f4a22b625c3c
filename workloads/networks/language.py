"""Language models.

==============  ==============================================================================
bert-base       Devlin et al., NAACL 2019, arXiv 1810.04805, section 3: 12 blocks, width 768, 12
                heads, MLP 3072, with its pooler and a classifier of two classes (section 4.1)
gpt2            Radford et al., 2019, table 2, first row; 12 heads of 64, output tied to the
                embedding, context 1024
gpt3-xl         Brown et al., NeurIPS 2020, arXiv 2005.14165, table 2.1: 24 blocks, width 2048,
                context 2048, vocabulary of GPT-2
llama-7b-block  one of the 32 blocks of LLaMA-7B, Touvron et al., 2023, arXiv 2302.13971, table 2:
                width 4096, 32 heads, SwiGLU of 11008, rotary positions
==============  ==============================================================================
"""

from __future__ import annotations

from workloads.errors import InputError
from workloads.layers import Attention, Embedding, Layer, Linear, Vector
from workloads.network import Network
from workloads.networks._blocks import layer_norm, mlp, residual, self_attention


def bert_base(batch: int = 32, tokens: int = 128) -> Network:
    """BERT-base, fine-tuned to classify sequences; layer norm follows the addition."""
    check_tokens("bert-base", tokens, most=512)
    dim, layers = 768, list[Layer]()
    for i in range(12):
        name = f"block{i}"
        attention = self_attention(
            name, tokens, dim, heads=12, head_dim=64, merged=False, bias=True
        )
        layers += residual(f"{name}.skip1", tokens * dim, *attention)
        layers.append(layer_norm(f"{name}.ln1", tokens, dim))
        layers += residual(f"{name}.skip2", tokens * dim, *mlp(name, tokens, dim, 3072))
        layers.append(layer_norm(f"{name}.ln2", tokens, dim))
    return Network(
        name="bert-base",
        source="Devlin et al., NAACL 2019, arXiv 1810.04805",
        input=f"sequence of {tokens} tokens",
        batch=batch,
        layers=(
            Embedding(name="embedding", tokens=tokens, dim=dim, table_rows=(30522, 512, 2)),
            layer_norm("embedding.ln", tokens, dim),
            *layers,
            Linear(name="pooler", in_features=dim, out_features=dim),
            Vector(name="pooler.tanh", kind="tanh", elements=dim),
            Linear(name="classifier", in_features=dim, out_features=2, classifier=True),
            Vector(name="loss", kind="loss", elements=2),
        ),
    )


def gpt2(batch: int = 8, tokens: int = 1024) -> Network:
    """GPT-2 small; a causal mask does not save products here (see `Attention`)."""
    source = "Radford et al., Language models are unsupervised multitask learners, 2019, table 2"
    return _gpt("gpt2", source, batch, tokens, dim=768, depth=12, heads=12, context=1024)


def gpt3_xl(batch: int = 1, tokens: int = 2048) -> Network:
    """GPT-3 XL; its 24 heads of 128 do not fit its width of 2048, so that 16 heads are taken."""
    source = "Brown et al., NeurIPS 2020, arXiv 2005.14165, table 2.1"
    return _gpt("gpt3-xl", source, batch, tokens, dim=2048, depth=24, heads=16, context=2048)


def _gpt(
    name: str,
    source: str,
    batch: int,
    tokens: int,
    *,
    dim: int,
    depth: int,
    heads: int,
    context: int,
) -> Network:
    """A decoder of the GPT family: norms before each half of a block, output tied to the input."""
    check_tokens(name, tokens, most=context)
    vocabulary, layers = 50257, list[Layer]()
    for i in range(depth):
        block = f"block{i}"
        attention = self_attention(
            block, tokens, dim, heads=heads, head_dim=dim // heads, merged=True, bias=True
        )
        layers += residual(
            f"{block}.skip1", tokens * dim, layer_norm(f"{block}.ln1", tokens, dim), *attention
        )
        layers += residual(
            f"{block}.skip2",
            tokens * dim,
            layer_norm(f"{block}.ln2", tokens, dim),
            *mlp(block, tokens, dim, 4 * dim),
        )
    return Network(
        name=name,
        source=source,
        input=f"sequence of {tokens} tokens",
        batch=batch,
        layers=(
            Embedding(name="embedding", tokens=tokens, dim=dim, table_rows=(vocabulary, context)),
            *layers,
            layer_norm("ln", tokens, dim),
            Linear(
                name="head",
                in_features=dim,
                out_features=vocabulary,
                rows=tokens,
                bias=False,
                classifier=True,
                tied=True,
            ),
            Vector(name="loss", kind="loss", elements=tokens * vocabulary),
        ),
    )


def llama_7b_block(batch: int = 1, tokens: int = 2048) -> Network:
    """One decoder block of LLaMA-7B, with the gradient of its input."""
    check_tokens("llama-7b-block", tokens, most=2048)
    dim, hidden, heads = 4096, 11008, 32

    def linear(name: str, in_features: int, out_features: int) -> Linear:
        return Linear(
            name=name, in_features=in_features, out_features=out_features, rows=tokens, bias=False
        )

    def norm(name: str) -> Vector:
        return Vector(name=name, kind="rmsnorm", elements=tokens * dim, parameters=dim)

    attention: tuple[Layer, ...] = (
        norm("norm1"),
        *(linear(part, dim, dim) for part in ("q", "k", "v")),
        Vector(name="rotary", kind="rotary", elements=2 * tokens * dim),
        Attention(name="attn", heads=heads, q_len=tokens, kv_len=tokens, head_dim=dim // heads),
        linear("o", dim, dim),
    )
    feed_forward: tuple[Layer, ...] = (
        norm("norm2"),
        linear("gate", dim, hidden),
        linear("up", dim, hidden),
        Vector(name="swiglu", kind="swiglu", elements=tokens * hidden),
        linear("down", hidden, dim),
    )
    return Network(
        name="llama-7b-block",
        source="Touvron et al., 2023, arXiv 2302.13971, table 2",
        input=f"sequence of {tokens} tokens",
        batch=batch,
        layers=(
            *residual("skip1", tokens * dim, *attention),
            *residual("skip2", tokens * dim, *feed_forward),
        ),
        needs_input_gradient=True,
    )


NETWORKS = {
    "bert-base": bert_base,
    "gpt2": gpt2,
    "gpt3-xl": gpt3_xl,
    "llama-7b-block": llama_7b_block,
}


def check_tokens(name: str, tokens: int, *, most: int) -> None:
    """Raise `InputError` unless the model has a position for each token."""
    if not isinstance(tokens, int) or isinstance(tokens, bool) or not 1 <= tokens <= most:
        raise InputError(
            f"tokens of {name} must be a whole number from 1 to {most}, not {tokens!r}"
        )
