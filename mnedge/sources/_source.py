"""Float: a float network and the facts about its pictures, outputs and names; Source: a reader of one kind of file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mnedge.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mnedge.graph.graph import Graph
    from mnedge.graph.heads import Head
    from mnedge.pixels import Pixels

# Where pixels are known from: the user, the file's metadata, the first ops of the graph, labelled pictures, or nowhere.
Origin = Literal["told", "metadata", "graph", "shown", "unknown"]

_LONGEST_REASON = 300
# 4,729 x 4,729 pixels in colour; TensorFlow's converter ends the process at some hundred times of that.
_MOST_VALUES = 1 << 26


class OpenSizeError(InputError):
    """A picture's height or width is left open, and no size is given."""


def sized(shape: Sequence[int | None], name: str, source: str, size: tuple[int, int] | None) -> tuple[int, ...]:
    """The shape of an input with batch 1, and with the height and width of `size` where the file leaves them open.

    Args:
        shape: As the file has it; None or -1 where it is open.
        name: The input.
        source: The file.
        size: Height and width in pixels, as told by the user.

    Raises:
        OpenSizeError: The file leaves the height or width of a picture open, and there is no size.
        InputError: The file leaves other extents open, or has another height or width than `size`.
        UnsupportedError: The batch is fixed, and is not 1.
    """
    extents = [-1 if extent is None else int(extent) for extent in shape]
    if not extents:
        return ()
    if extents[0] not in (-1, 1):
        raise UnsupportedError(
            f"input {name} of {source} has the shape {tuple(extents)} with a fixed batch of {extents[0]}; "
            "export the model with batch 1 or a free batch"
        )
    extents[0] = 1
    is_picture = len(extents) == 4
    if is_picture and size is not None:
        for axis, given in ((1, size[0]), (2, size[1])):
            if extents[axis] not in (-1, given):
                raise InputError(
                    f"input {name} of {source} is {extents[1]} x {extents[2]} (height x width), not "
                    f"{size[0]} x {size[1]}; leave --size out"
                )
            extents[axis] = given
    if -1 in extents:
        open_shape = " x ".join("?" if extent < 0 else str(extent) for extent in extents)
        said = f"input {name} of {source} leaves its shape open ({open_shape})"
        if is_picture and extents[3] > 0:
            raise OpenSizeError(f"{said}; give --size HEIGHTxWIDTH")
        raise InputError(f"{said}; export the model with fixed shapes")
    if math.prod(extents) > _MOST_VALUES:
        raise InputError(
            f"input {name} of {source} is {' x '.join(map(str, extents))}, {math.prod(extents):,} values, and at most "
            f"{_MOST_VALUES:,} are taken; export the model for a smaller one"
        )
    return tuple(extents)


def reason(error: BaseException) -> str:
    """The first line of what a library says of its failure, without full stop."""
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:_LONGEST_REASON].rstrip(".") if lines else type(error).__name__


@dataclass(frozen=True)
class Output:
    """An output of a float network.

    Attributes:
        name: Tensor name.
        shape: With batch 1.
        head: Kind of its values.
    """

    name: str
    shape: tuple[int, ...]
    head: Head


@dataclass(frozen=True, eq=False)
class Float:
    """A float network, whatever file it came from.

    Attributes:
        graph: float32, batch 1.
        pixels: Pixels of the network; None if neither the file nor the graph shows them.
        pixels_origin: Origin of `pixels`.
        outputs: In the graph's order.
        labels: Class names in the order of the outputs; () where the file has none.
        family: Name of the architecture as recognised, e.g. "v2"; None where none was.
        alpha: Its width multiplier; None where no family was recognised.
        notes: Changes that reading made and a user should know, a sentence each ("2 RandomFlip layers act in training
            only and are gone").
    """

    graph: Graph
    pixels: Pixels | None
    pixels_origin: Origin
    outputs: tuple[Output, ...]
    labels: tuple[str, ...] = ()
    family: str | None = None
    alpha: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A kind of file that holds a float network. One source = one file with one `SOURCE` of this type.

    Attributes:
        what: The kind in words, e.g. "a Keras model (.keras, .h5)".
        suffixes: File suffixes with the dot; () for a folder.
        accepts: Whether a path, which exists, is of this kind.
        read: Reads it: (path, height and width where the file leaves them open) -> Float. Raises InputError on damage
            and UnsupportedError on what cannot be brought in, with the way out.
        read_signature: Reads one of several signatures: (path, the same, its name); None where a file has but one way
            to be called.
    """

    what: str
    suffixes: tuple[str, ...]
    accepts: Callable[[Path], bool]
    read: Callable[[Path, tuple[int, int] | None], Float]
    read_signature: Callable[[Path, tuple[int, int] | None, str | None], Float] | None = None
