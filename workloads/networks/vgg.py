"""VGG-19 for CIFAR-100: the sixteen 3x3 convolutions of Simonyan and Zisserman with batch norm.

Column E of table 1 in arXiv 1409.1556 (ICLR 2015), on 32x32 images, with one classifier layer
instead of three, as is usual for CIFAR.
"""

from __future__ import annotations

from workloads.layers import Layer, Pool
from workloads.network import Network
from workloads.networks.resnet import classifier, conv_bn

COLUMN_E = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


def vgg19(batch: int = 512) -> Network:
    """VGG-19 with batch norm for CIFAR-100."""
    layers: list[Layer] = []
    channels, size = 3, 32
    for stage, (width, count) in enumerate(COLUMN_E, start=1):
        for index in range(1, count + 1):
            layers += conv_bn(f"conv{stage}_{index}", channels, width, (size, size), 3)
            channels = width
        layers.append(
            Pool(
                name=f"pool{stage}",
                kind="max",
                channels=width,
                in_hw=(size, size),
                kernel=2,
                stride=2,
            )
        )
        size //= 2
    layers += classifier(channels, 100)
    return Network(
        name="vgg19",
        source="Simonyan and Zisserman, ICLR 2015, arXiv 1409.1556, table 1, column E",
        input="3x32x32 image",
        batch=batch,
        layers=tuple(layers),
    )


NETWORKS = {"vgg19": vgg19}
