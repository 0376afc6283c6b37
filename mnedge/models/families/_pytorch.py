"""The names that PyTorch's libraries give to the layers of a network.

timm and torchvision call a layer by its place among the modules. A family says how many blocks its stages have; the
order of the layers is that of its table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnedge.models.network import Layer

# The layers of one block share this beginning of their names; any other layer stands alone.
_BLOCK = re.compile(r"(?:expanded_conv|block)_(?:\d+_)?|conv_[dp]w_(?P<pair>\d+)")


class Names(NamedTuple):
    """Prefixes of one layer's arrays.

    Attributes:
        layer: The Keras layer.
        kernel: Prefix of ".weight" and ".bias"; "" for a batch norm that no kernel stands before.
        norm: Prefix of the batch norm's arrays; "" if there is none.
        gain: Array of factors of the layer's channels; "" if there is none.
    """

    layer: Layer
    kernel: str
    norm: str = ""
    gain: str = ""


@dataclass(frozen=True)
class PyTorch:
    """Names that a PyTorch library gives the layers of a family.

    Attributes:
        library: Name of the library.
        names: The layers with weights, in their order -> their names.
        epsilon: Epsilon of its batch norms.
    """

    library: Literal["timm", "torchvision"]
    names: Callable[[Sequence[Layer]], Iterator[Names]]
    epsilon: float = 1e-5


def blocks_of(layers: Sequence[Layer]) -> list[tuple[Layer, ...]]:
    """Splits layers into blocks; the first is the stem, and each layer behind the last block stands alone."""

    def key(layer: Layer) -> str:
        found = _BLOCK.match(layer.name)
        return layer.name if found is None else found["pair"] or found[0]

    return [tuple(block) for _, block in groupby(layers, key)]


def timm(
    stages: Sequence[int],
    tail: Sequence[tuple[str, str]],
    block: Callable[[str, Sequence[Layer]], Iterator[Names]] | None = None,
) -> Callable[[Sequence[Layer]], Iterator[Names]]:
    """Builds the names of timm's efficientnet.py and mobilenetv3.py.

    Args:
        stages: Number of blocks of each stage.
        tail: Kernel and batch norm of each layer behind the blocks.
        block: Names the layers of one block, given its prefix; None for (inverted) residual blocks.
    """
    named = block or _residual

    def names(layers: Sequence[Layer]) -> Iterator[Names]:
        (stem,), *rest = blocks_of(layers)
        yield Names(stem, "conv_stem", "bn1")
        places = [f"blocks.{stage}.{place}." for stage, blocks in enumerate(stages) for place in range(blocks)]
        for prefix, found in zip(places, rest, strict=False):
            yield from named(prefix, found)
        for (layer,), (kernel, norm) in zip(rest[len(places) :], tail, strict=True):
            yield Names(layer, kernel, norm)

    return names


def _residual(prefix: str, layers: Sequence[Layer]) -> Iterator[Names]:
    """Depthwise separable, or inverted with an expansion before it; a squeeze-and-excite has no batch norm."""
    kernels = ["conv_dw", "conv_pw"] if layers[0].kind == "depthwise" else ["conv_pw", "conv_dw", "conv_pwl"]
    squeezes = ["se.conv_reduce", "se.conv_expand"]
    place = 0
    for layer in layers:
        if layer.kind == "squeeze_excite":
            yield Names(layer, prefix + squeezes.pop(0))
        else:
            yield Names(layer, prefix + kernels[place], f"{prefix}bn{place + 1}")
            place += 1
