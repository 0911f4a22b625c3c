"""Decoder-only language models as a table: what one layer of one tensor-parallel shard holds.

==============  =====================================================================
GPT-3           Brown et al., NeurIPS 2020, arXiv 2005.14165, table 2.1; feed-forward 4 x width
LLaMA 2         Touvron et al., 2023, arXiv 2307.09288, table 1 and appendix A.2.1
LLaMA 3         Grattafiori et al., 2024, arXiv 2407.21783, table 3
==============  =====================================================================

GPT-3 7B and 30B are the sizes of NeuPIMs (ASPLOS 2024), which rounds 6.7B and takes 30B from OPT
(Zhang et al., 2022, arXiv 2205.01068, table 1: 48 layers, 56 heads, width 7168).
"""

from __future__ import annotations

from dataclasses import dataclass

from workloads.errors import InputError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """Shape of a decoder: `gated` feed-forwards have three products (SwiGLU) instead of two."""

    name: str
    layers: int
    heads: int
    kv_heads: int
    width: int
    feed_forward: int
    vocabulary: int
    gated: bool = False

    @property
    def head_width(self) -> int:
        """Elements of one head."""
        return self.width // self.heads

    @property
    def layer_parameters(self) -> int:
        """Weights of the products of one layer."""
        attention = self.width * self.width * 2 + 2 * self.width * self.kv_heads * self.head_width
        return attention + (3 if self.gated else 2) * self.width * self.feed_forward

    @property
    def parameters(self) -> int:
        """Weights of all products, and of the embedding once."""
        return self.layers * self.layer_parameters + self.vocabulary * self.width

    def check_shards(self, tensor_parallel: int) -> None:
        """Raise `InputError` unless heads and feed-forward columns divide among the shards."""
        for what, size in (
            ("heads", self.heads),
            ("key/value heads", self.kv_heads),
            ("feed-forward columns", self.feed_forward),
        ):
            if tensor_parallel < 1 or size % tensor_parallel:
                raise InputError(
                    f"tensor parallelism must divide the {size} {what} of {self.name}, "
                    f"not {tensor_parallel}"
                )


def _gpt3(name: str, layers: int, heads: int, width: int) -> Decoder:
    return Decoder(
        name=name,
        layers=layers,
        heads=heads,
        kv_heads=heads,
        width=width,
        feed_forward=4 * width,
        vocabulary=50257,
    )


def _llama(
    name: str, layers: int, heads: int, kv_heads: int, width: int, hidden: int, vocabulary: int
) -> Decoder:
    return Decoder(
        name=name,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        width=width,
        feed_forward=hidden,
        vocabulary=vocabulary,
        gated=True,
    )


DECODERS = {
    model.name: model
    for model in (
        _gpt3("gpt3-7b", 32, 32, 4096),
        _gpt3("gpt3-13b", 40, 40, 5120),
        _gpt3("gpt3-30b", 48, 56, 7168),
        _gpt3("gpt3-175b", 96, 96, 12288),
        _llama("llama2-7b", 32, 32, 32, 4096, 11008, 32000),
        _llama("llama2-13b", 40, 40, 40, 5120, 13824, 32000),
        _llama("llama2-70b", 80, 64, 8, 8192, 28672, 32000),
        _llama("llama3-8b", 32, 32, 8, 4096, 14336, 128256),
        _llama("llama3-70b", 80, 64, 8, 8192, 28672, 128256),
    )
}


def find(name: str) -> Decoder:
    """Return the decoder called `name`; raise `InputError` if there is none.

    >>> find("gpt3-7b").head_width
    128
    """
    if name not in DECODERS:
        hint = nearest(name, DECODERS)
        raise InputError(f"no decoder is called {name!r}; {hint}")
    return DECODERS[name]
