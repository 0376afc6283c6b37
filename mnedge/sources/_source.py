"""Float: a float network with what is known of its pictures, outputs and names; Source: what reads one kind of file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.graph.graph import Graph
    from mnedge.graph.heads import Head
    from mnedge.pixels import Pixels

# Where pixels are known from: the user, the file's metadata, the first ops of the graph, labelled pictures, or nowhere.
Origin = Literal["told", "metadata", "graph", "shown", "unknown"]


@dataclass(frozen=True)
class Output:
    """One output of a float network.

    Attributes:
        name: Tensor name.
        shape: With batch 1.
        head: What its values are.
    """

    name: str
    shape: tuple[int, ...]
    head: Head


@dataclass(frozen=True, eq=False)
class Float:
    """A float network, whatever file it came from.

    Attributes:
        graph: float32, batch 1.
        pixels: What a picture is to it; None where the file does not say and the graph does not show it.
        pixels_origin: Where `pixels` is known from.
        outputs: In the graph's order.
        labels: Class names in the order of the outputs; () where the file has none.
        family: Name of the architecture as recognised, e.g. "v2"; None where none was.
        notes: What reading changed and its user should know, a sentence each ("2 RandomFlip layers act in training
            only and are gone").
    """

    graph: Graph
    pixels: Pixels | None
    pixels_origin: Origin
    outputs: tuple[Output, ...]
    labels: tuple[str, ...] = ()
    family: str | None = None
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
    """

    what: str
    suffixes: tuple[str, ...]
    accepts: Callable[[Path], bool]
    read: Callable[[Path, tuple[int, int] | None], Float]
