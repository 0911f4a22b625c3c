"""Vision transformers.

========  =====================================================================================
vit-32    32x32 images of 100 classes: patches of 4, width 512, 6 blocks, 8 heads of 64, MLP 512,
          no bias in Q, K and V: the common small transformer for CIFAR. SAT (arXiv 2309.13015)
          names ViT on CIFAR-100 without its sizes.
vit-b16   ViT-B/16 at 224x224, Dosovitskiy et al., ICLR 2021, arXiv 2010.11929, table 1
========  =====================================================================================
"""

from __future__ import annotations

from workloads.layers import Conv, Layer, Linear, Vector
from workloads.network import Network
from workloads.networks._blocks import layer_norm, mlp, residual, self_attention

DOSOVITSKIY = "Dosovitskiy et al., ICLR 2021, arXiv 2010.11929"


def vit_32(batch: int = 512) -> Network:
    """The small ViT for CIFAR-100; a patch is a row of 48 numbers."""
    patches = (32 // 4) ** 2
    embed = Linear(name="patch", in_features=3 * 4 * 4, out_features=512, rows=patches)
    layers = (
        embed,
        *_encoder(patches + 1, 512, depth=6, heads=8, hidden=512, qkv_bias=False, classes=100),
    )
    source = f"{DOSOVITSKIY}, in the size usual for CIFAR"
    return Network(name="vit-32", source=source, input="3x32x32 image", batch=batch, layers=layers)


def vit_b16(batch: int = 256) -> Network:
    """ViT-B/16 for ImageNet."""
    embed = Conv(
        name="patch",
        in_channels=3,
        out_channels=768,
        in_hw=(224, 224),
        kernel=16,
        stride=16,
        bias=True,
    )
    tokens = (224 // 16) ** 2 + 1
    layers = (
        embed,
        *_encoder(tokens, 768, depth=12, heads=12, hidden=3072, qkv_bias=True, classes=1000),
    )
    return Network(
        name="vit-b16",
        source=f"{DOSOVITSKIY}, table 1",
        input="3x224x224 image",
        batch=batch,
        layers=layers,
    )


NETWORKS = {"vit-32": vit_32, "vit-b16": vit_b16}


def _encoder(
    tokens: int, dim: int, *, depth: int, heads: int, hidden: int, qkv_bias: bool, classes: int
) -> tuple[Layer, ...]:
    """Everything after the patch embedding; the class token is one of `tokens`."""
    blocks: list[Layer] = []
    for i in range(depth):
        name = f"block{i}"
        attention = self_attention(
            name, tokens, dim, heads=heads, head_dim=64, merged=True, bias=qkv_bias
        )
        blocks += residual(
            f"{name}.skip1", tokens * dim, layer_norm(f"{name}.ln1", tokens, dim), *attention
        )
        blocks += residual(
            f"{name}.skip2",
            tokens * dim,
            layer_norm(f"{name}.ln2", tokens, dim),
            *mlp(name, tokens, dim, hidden),
        )
    class_token_and_positions = dim + tokens * dim
    return (
        Vector(
            name="position",
            kind="bias",
            elements=tokens * dim,
            parameters=class_token_and_positions,
        ),
        *blocks,
        layer_norm("ln", tokens, dim),
        Linear(name="head", in_features=dim, out_features=classes, classifier=True),
        Vector(name="loss", kind="loss", elements=classes),
    )
