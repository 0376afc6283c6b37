"""Content of a file besides its computation: it goes through every rewrite, or its loss is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def check_kept(before: Graph, after: Graph) -> None:
    """Makes sure that programs which use `before` can use `after` in its place.

    Compared are the names, shapes and open shapes of inputs and outputs, signatures, associated files, and the names
    of metadata.

    Raises:
        UnsupportedError: Something is lost; the message names the first such thing.
    """
    lost = ""
    for what, old, new in (("input", before.inputs, after.inputs), ("output", before.outputs, after.outputs)):
        if old != new:
            lost = lost or f"the {what}s are {', '.join(new)} where they were {', '.join(old)}"
        for name in set(old) & set(new):
            was, now = before.tensors[name], after.tensors[name]
            if (was.shape, was.open_shape) != (now.shape, now.open_shape):
                lost = lost or (
                    f"the shape of {what} {name} is {now.open_shape or now.shape} where it was "
                    f"{was.open_shape or was.shape}"
                )
    if before.signatures != after.signatures:
        lost = lost or f"the signatures {', '.join(item.key for item in before.signatures)} do not fit any more"
    for what, kept, present in (
        ("associated files", before.associated, after.associated),
        ("metadata", before.metadata, after.metadata),
    ):
        gone = [name for name in kept if name not in present]
        if gone:
            lost = lost or f"the {what} {', '.join(gone)} are gone"
    if lost:
        raise UnsupportedError(
            f"the rewritten model cannot take the place of the one it came from: {lost}; report this with the model"
        )
