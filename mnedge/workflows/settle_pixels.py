"""Pixels of a model: stated, read from its file, or shown by labelled pictures; never assumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.errors import InputError
from mnedge.formats.pixels import unknown_pixels
from mnedge.runtimes import naming
from mnedge.validation.candidates import disagreement, score_candidates, shown_pixels, table
from mnedge.validation.predict import check_takes_pictures, pixels_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.data.dataset import Dataset
    from mnedge.graph.graph import Graph
    from mnedge.pixels import Pixels
    from mnedge.sources import Float

# As many as tell -1..1 from the mean and deviation of ImageNet on flowers, where 300 do not; a stated one is checked.
_TO_SHOW, _TO_CHECK = 800, 100
_STAGE = "score ranges of pixels"


def settle_pixels(
    path: Path,
    network: Float,
    dataset: Dataset,
    told: Pixels | None,
    *,
    positive: int | None = None,
    output: int = 0,
    notice: Callable[[str], None],
    progress: Callable[[str, float], None],
) -> Pixels:
    """Finds out what a picture is to a float model.

    Args:
        path: Its file.
        network: The model.
        dataset: Labelled pictures, whose classes may be the model's.
        told: By the user; None where nothing was.
        positive: Class index that is the yes of a model with one output.
        output: Place of the output that tells the classes of the pictures.
        notice: Called with the findings of labelled pictures, and with their contradictions to the user or the file.
        progress: Called with the name of the stage and the share of it that is done, 0..1.

    Raises:
        InputError: Nothing says it; the message lists what was measured, and the choices.
    """
    graph, stated = network.graph, told or network.pixels
    check_takes_one(path, graph)
    shape = graph.tensors[graph.inputs[0]].shape
    check_takes_pictures(path, shape)
    if stated is not None:
        stated = pixels_for(path, shape, stated)
    try:
        with naming(path):
            candidates = score_candidates(
                graph.replaced(outputs=[graph.outputs[output]]),
                dataset,
                dataset.split("eval", _TO_SHOW if stated is None else _TO_CHECK),
                stated=stated,
                positive=positive,
                progress=lambda share: progress(_STAGE, share),
            )
    except InputError as exc:
        # Pictures that cannot show it: others' classes, an output without answers. A stated range stands.
        if stated is not None:
            return stated
        raise InputError(f"{unknown_pixels(path)}. Labelled pictures do not show it either: {exc}") from exc
    if stated is None:
        shown = shown_pixels(candidates)
        notice(f"{len(candidates[0].right)} labelled pictures show that pixels are {shown}: {table(candidates)}")
        return shown
    warning = disagreement(candidates, stated)
    if warning is not None:
        notice(f"Warning: {warning}")
    return stated


def check_takes_one(path: Path, graph: Graph) -> None:
    """Refuses a network of several inputs, which pictures alone cannot feed.

    Raises:
        InputError: It has several.
    """
    if len(graph.inputs) != 1:
        raise InputError(
            f"{path} has {len(graph.inputs)} inputs ({', '.join(graph.inputs)}), and pictures feed one; give samples "
            "of all as arrays, with --data FILE.npz"
        )
