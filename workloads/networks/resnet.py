"""ResNets.

=================  ==========================================================================
resnet9            the DAWNBench CIFAR-10 entry of Page ("How to train your ResNet", 2018):
                   3x3 convolutions 64, 128, 128+128, 256, 512, 512+512, classifier
resnet18           He et al., CVPR 2016 (arXiv 1512.03385), table 1, 224x224
resnet18-64        the same on 64x64 images of 200 classes (Tiny ImageNet), 7x7 stem kept
resnet18-64-3x3    the same with a 3x3 stem of stride 1 and no pooling, as is usual for small
                   images; SAT (arXiv 2309.13015) does not say which of the two it trained
resnet50           table 1 of the same, 224x224, stride in the 3x3 convolution ("v1.5")
=================  ==========================================================================
"""

from __future__ import annotations

from math import prod

from workloads.layers import Conv, Layer, Linear, Pool, Vector
from workloads.network import Network
from workloads.networks._blocks import residual
from workloads.rounding import ceil_div

HE = "He et al., CVPR 2016, arXiv 1512.03385, table 1"
WIDTHS = (64, 128, 256, 512)


def resnet9(batch: int = 512) -> Network:
    """ResNet-9 for CIFAR-10."""
    layers: tuple[Layer, ...] = (
        *conv_bn("prep", 3, 64, (32, 32), 3),
        *conv_bn("layer1", 64, 128, (32, 32), 3),
        Pool(name="pool1", kind="max", channels=128, in_hw=(32, 32), kernel=2, stride=2),
        *_residual_pair("res1", 128, (16, 16)),
        *conv_bn("layer2", 128, 256, (16, 16), 3),
        Pool(name="pool2", kind="max", channels=256, in_hw=(16, 16), kernel=2, stride=2),
        *conv_bn("layer3", 256, 512, (8, 8), 3),
        Pool(name="pool3", kind="max", channels=512, in_hw=(8, 8), kernel=2, stride=2),
        *_residual_pair("res3", 512, (4, 4)),
        Pool(name="pool4", kind="max", channels=512, in_hw=(4, 4), kernel=4, stride=4),
        *classifier(512, 10),
    )
    source = "Page, How to train your ResNet (DAWNBench CIFAR-10), 2018"
    return Network(name="resnet9", source=source, input="3x32x32 image", batch=batch, layers=layers)


def resnet18(batch: int = 256) -> Network:
    """ResNet-18 for ImageNet."""
    return _imagenet_style("resnet18", batch, (2, 2, 2, 2), size=224, classes=1000)


def resnet18_64(batch: int = 512) -> Network:
    """ResNet-18 for 64x64 images with the 7x7 stem."""
    return _imagenet_style("resnet18-64", batch, (2, 2, 2, 2), size=64, classes=200)


def resnet18_64_3x3(batch: int = 512) -> Network:
    """ResNet-18 for 64x64 images with a 3x3 stem."""
    name = "resnet18-64-3x3"
    return _imagenet_style(name, batch, (2, 2, 2, 2), size=64, classes=200, small_stem=True)


def resnet50(batch: int = 256) -> Network:
    """ResNet-50 for ImageNet."""
    return _imagenet_style("resnet50", batch, (3, 4, 6, 3), size=224, classes=1000, expansion=4)


NETWORKS = {
    "resnet9": resnet9,
    "resnet18": resnet18,
    "resnet18-64": resnet18_64,
    "resnet18-64-3x3": resnet18_64_3x3,
    "resnet50": resnet50,
}


def conv_bn(
    name: str,
    in_channels: int,
    out_channels: int,
    in_hw: tuple[int, int],
    kernel: int,
    *,
    stride: int = 1,
    relu: bool = True,
) -> tuple[Layer, ...]:
    """A convolution that keeps the size but for its stride, batch norm, and ReLU if wanted."""
    conv = Conv(
        name=name,
        in_channels=in_channels,
        out_channels=out_channels,
        in_hw=in_hw,
        kernel=kernel,
        stride=stride,
        padding=kernel // 2,
    )
    elements = out_channels * prod(conv.out_hw)
    norm = Vector(
        name=f"{name}.bn", kind="batchnorm", elements=elements, parameters=2 * out_channels
    )
    if not relu:
        return conv, norm
    return conv, norm, Vector(name=f"{name}.relu", kind="relu", elements=elements)


def classifier(features: int, classes: int) -> tuple[Layer, ...]:
    """The last linear layer and the loss."""
    return (
        Linear(name="fc", in_features=features, out_features=classes, classifier=True),
        Vector(name="loss", kind="loss", elements=classes),
    )


def _residual_pair(name: str, channels: int, hw: tuple[int, int]) -> tuple[Layer, ...]:
    """Two convolutions with a skip connection around them (no ReLU after the addition)."""
    return residual(
        name,
        channels * prod(hw),
        *conv_bn(f"{name}.conv1", channels, channels, hw, 3),
        *conv_bn(f"{name}.conv2", channels, channels, hw, 3),
    )


def _imagenet_style(
    name: str,
    batch: int,
    blocks: tuple[int, ...],
    *,
    size: int,
    classes: int,
    expansion: int = 1,
    small_stem: bool = False,
) -> Network:
    stem, hw = _stem((size, size), small=small_stem)
    layers, channels = list(stem), WIDTHS[0]
    for stage, (width, count) in enumerate(zip(WIDTHS, blocks, strict=True), start=1):
        for index in range(count):
            stride = 2 if stage > 1 and index == 0 else 1
            layers += _block(f"layer{stage}.{index}", channels, width, hw, stride, expansion)
            hw = (ceil_div(hw[0], stride), ceil_div(hw[1], stride))
            channels = width * expansion
    layers.append(
        Pool(name="pool", kind="average", channels=channels, in_hw=hw, kernel=hw[0], stride=hw[0])
    )
    layers += classifier(channels, classes)
    image = f"3x{size}x{size} image"
    return Network(name=name, source=HE, input=image, batch=batch, layers=tuple(layers))


def _stem(hw: tuple[int, int], *, small: bool) -> tuple[tuple[Layer, ...], tuple[int, int]]:
    """The layers before the first block, and the size of what they give."""
    if small:
        return conv_bn("conv1", 3, WIDTHS[0], hw, 3), hw
    half = (ceil_div(hw[0], 2), ceil_div(hw[1], 2))
    pool = Pool(
        name="maxpool", kind="max", channels=WIDTHS[0], in_hw=half, kernel=3, stride=2, padding=1
    )
    return (*conv_bn("conv1", 3, WIDTHS[0], hw, 7, stride=2), pool), pool.out_hw


def _block(
    name: str, channels: int, width: int, hw: tuple[int, int], stride: int, expansion: int
) -> tuple[Layer, ...]:
    """A residual block: two 3x3 convolutions, or 1x1, 3x3, 1x1 if its output is expanded."""
    out_hw = (ceil_div(hw[0], stride), ceil_div(hw[1], stride))
    out_channels = width * expansion
    if expansion == 1:
        main = (
            *conv_bn(f"{name}.conv1", channels, width, hw, 3, stride=stride),
            *conv_bn(f"{name}.conv2", width, width, out_hw, 3, relu=False),
        )
    else:
        main = (
            *conv_bn(f"{name}.conv1", channels, width, hw, 1),
            *conv_bn(f"{name}.conv2", width, width, hw, 3, stride=stride),
            *conv_bn(f"{name}.conv3", width, out_channels, out_hw, 1, relu=False),
        )
    shortcut: tuple[Layer, ...] = ()
    if stride > 1 or channels != out_channels:
        shortcut = conv_bn(
            f"{name}.shortcut", channels, out_channels, hw, 1, stride=stride, relu=False
        )
    elements = out_channels * prod(out_hw)
    return (
        Vector(name=f"{name}.split", kind="split", elements=channels * prod(hw)),
        *shortcut,
        *main,
        Vector(name=f"{name}.add", kind="add", elements=elements),
        Vector(name=f"{name}.relu", kind="relu", elements=elements),
    )
