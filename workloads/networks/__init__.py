"""One module per family of networks; `find` returns a network by name.

A module in this folder offers `NETWORKS`: names and the functions that build them. Nothing
registers itself: `names` reads the folder.

>>> find("resnet18-64", batch=512).parameters
11279112
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from functools import cache

from workloads.errors import InputError, nearest
from workloads.network import Network
from workloads.networks.language import bert_base, gpt2, gpt3_xl, llama_7b_block
from workloads.networks.resnet import resnet9, resnet18, resnet18_64, resnet18_64_3x3, resnet50
from workloads.networks.vgg import vgg19
from workloads.networks.vit import vit_32, vit_b16

__all__ = [
    "bert_base",
    "find",
    "gpt2",
    "gpt3_xl",
    "llama_7b_block",
    "names",
    "resnet9",
    "resnet18",
    "resnet18_64",
    "resnet18_64_3x3",
    "resnet50",
    "vgg19",
    "vit_32",
    "vit_b16",
]


def names() -> list[str]:
    """Return the names of all networks, sorted."""
    return sorted(_builders())


def find(name: str, *, batch: int | None = None, tokens: int | None = None) -> Network:
    """Build the network called `name`, for its own default batch and tokens where None is given.

    Raises `InputError` if there is no such network, or if it has no tokens to choose.
    """
    builders = _builders()
    if name not in builders:
        hint = nearest(name, sorted(builders))
        raise InputError(f"no network is called {name!r}; {hint}")
    options = {"batch": batch, "tokens": tokens}
    given = {option: value for option, value in options.items() if value is not None}
    if "tokens" in given and "tokens" not in inspect.signature(builders[name]).parameters:
        raise InputError(f"network {name} reads images and has no tokens to set; leave tokens out")
    return builders[name](**given)


@cache
def _builders() -> dict[str, Callable[..., Network]]:
    modules = (m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    found: dict[str, Callable[..., Network]] = {}
    for module in modules:
        found |= importlib.import_module(f"{__name__}.{module}").NETWORKS
    return found
