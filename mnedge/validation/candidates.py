"""Range of pixels that labelled pictures show: a float network is scored under each range, on the same pictures."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import InputError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.heads import THRESHOLD, head_of
from mnedge.pixels import CHANNELS, RANGES, Pixels
from mnedge.runtimes import open_session
from mnedge.runtimes._runtime import decode, encode
from mnedge.validation.accuracy import topk_hits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mnedge.data.dataset import Dataset
    from mnedge.graph.graph import Graph
    from mnedge.graph.heads import Head
    from mnedge.pixels import Order
    from mnedge.untyped import AnyArray

# How often equally good ranges may differ so much by chance; stricter than the usual 0.05, as the best of several is
# held against each of the others.
_CHANCE = 0.01
_ORDERS: dict[int, tuple[Order, ...]] = {1: ("GREY",), 3: ("RGB", "BGR"), 4: ("RGBA",)}
_WORKERS = 2


@dataclass(frozen=True, eq=False)
class Candidate:
    """A range, and what the network gets right with it.

    Attributes:
        pixels: Candidate for the pixels of the network.
        right: Whether it is right of each picture, bool (pictures,).
        blind: Whether the commonest class, named without a look, is right of each, bool (pictures,).
    """

    pixels: Pixels
    right: NDArray[np.bool_]
    blind: NDArray[np.bool_]

    @property
    def share(self) -> float:
        """Share of the pictures of which it is right, 0..1."""
        return float(self.right.mean())


def candidates_for(channels: int) -> tuple[Pixels, ...]:
    """The usual ranges of a network's input with so many channels, RGB and BGR where it has three."""
    found = []
    for order in _ORDERS.get(channels, ()):
        ranges = [words for words in RANGES if CHANNELS[order] == CHANNELS["RGB"] or words.startswith(("0", "-"))]
        found += [Pixels.parse(words, order) for words in ranges]
    return tuple(found)


def score_candidates(
    graph: Graph,
    dataset: Dataset,
    numbers: NDArray[np.int64],
    *,
    head: Head | None = None,
    stated: Pixels | None = None,
    positive: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Candidate]:
    """Scores a float network under each usual range of pixels.

    Args:
        graph: Float; one input, (1, height, width, channels).
        dataset: Labelled pictures whose class indices are the network's.
        numbers: Numbers of the pictures; some hundred tell ranges apart.
        head: Kind of the first output; None for what the graph shows.
        stated: A range that the user or the file names, to be scored with the others.
        positive: Class index that is the yes of a network with one output; None for data with two classes.
        progress: Called with the share that is done, 0..1.

    Returns:
        The candidates, the best one first.

    Raises:
        InputError: The output gives no answers that a class index could prove, or fewer than the data has classes, or
            the input takes no pictures.
    """
    head = head or head_of(graph, graph.outputs[0])
    shape = graph.tensors[graph.inputs[0]].shape
    usual = candidates_for(shape[-1]) if len(shape) == 4 else ()
    if not usual:
        raise InputError(f"the input is {shape}, which takes no pictures of 1, 3 or 4 channels")
    pictures, labels = dataset.pixels(numbers, (shape[1], shape[2]))
    score, blind = _scorer(head, labels, graph.tensors[graph.outputs[0]].shape[-1], positive)
    listed = [*usual, *([stated] if stated is not None and stated not in usual else [])]
    model = write_tflite(graph)
    found = []
    with ExitStack() as opened, ThreadPoolExecutor(_WORKERS) as pool:
        sessions = [opened.enter_context(closing(open_session("litert", model, 1))) for _ in range(_WORKERS)]
        for place, pixels in enumerate(listed):
            arranged = pixels.arranged(pictures)

            def work(first: int, pixels: Pixels = pixels, arranged: NDArray[np.uint8] = arranged) -> list[AnyArray]:
                session = sessions[first]
                own = arranged[first::_WORKERS]
                return [
                    decode(session.run(encode(image[None], session.input, pixels))[0][0], session.outputs[0])
                    for image in own
                ]

            outputs = [np.empty(0)] * len(arranged)
            for first, made in enumerate(pool.map(work, range(_WORKERS))):
                outputs[first::_WORKERS] = made
            found.append(Candidate(pixels, score(np.stack(outputs)), blind))
            if progress is not None:
                progress((place + 1) / len(listed))
    # The sort keeps the usual order of equals.
    return sorted(found, key=lambda candidate: -candidate.share)


def shown_pixels(candidates: Sequence[Candidate]) -> Pixels:
    """The range that labelled pictures prove: better than every other in a paired test, and than naming one class.

    An untrained network, or one of other classes, is right by chance, in some range more often than in the others.

    Raises:
        InputError: None is; the message lists what was measured, and how to state it.
    """
    best, *others = candidates
    close = [other for other in others if chance_of(best.right, other.right) >= _CHANCE]
    if close:
        raise InputError(
            f"{best.right.size} labelled pictures do not show the range of the model's pixels: {table(candidates)}. "
            f"{best.pixels} is best, but {', '.join(str(other.pixels) for other in close)} may be as good (a "
            f"paired test of each at {_CHANCE:.0%}); state the range with --pixels, as the code that trained the model "
            "prepares its pictures, or give more labelled pictures of the model's own classes"
        )
    if best.share <= best.blind.mean() or chance_of(best.right, best.blind) >= _CHANCE:
        raise InputError(
            f"{best.right.size} labelled pictures do not show the range of the model's pixels: {table(candidates)}, "
            f"and naming the commonest class of all is right of {best.blind.mean():.1%}. Perhaps the model was not "
            "trained, or its classes are not the data's, or in another order; state the range with --pixels, as the "
            "code that trained the model prepares its pictures"
        )
    return best.pixels


def disagreement(candidates: Sequence[Candidate], stated: Pixels) -> str | None:
    """A warning where another range is right significantly more often than the stated one; None where none is."""
    own = next(candidate for candidate in candidates if candidate.pixels == stated)
    best = candidates[0]
    if best.share <= own.share or chance_of(best.right, own.right) >= _CHANCE:
        return None
    points = 100 * (best.share - own.share)
    return (
        f"pixels are stated as {stated}, but {own.right.size} labelled pictures show {best.pixels}: "
        f"{best.share:.1%} right instead of {own.share:.1%}, {points:.1f} points more"
    )


def table(candidates: Sequence[Candidate]) -> str:
    """Describes the scores in a line: "-1..1 76.5 %, 0..1 41.0 %"."""
    return ", ".join(f"{candidate.pixels} {100 * candidate.share:.1f} %" for candidate in candidates)


def chance_of(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Returns the p-value of the difference of two ranges on these pictures: McNemar's exact test, two-sided.

    Only pictures of which one is right and the other wrong count; each is then a coin toss. McNemar 1947, "Note on the
    sampling error of the difference between correlated proportions", Psychometrika 12.
    """
    first, second = int((one & ~other).sum()), int((other & ~one).sum())
    count = first + second
    if count == 0:
        return 1.0
    tail = sum(math.comb(count, hits) for hits in range(min(first, second) + 1))
    return min(1.0, 2 * (tail / (1 << count)))


def _scorer(
    head: Head, labels: NDArray[np.int64], columns: int, positive: int | None
) -> tuple[Callable[[NDArray[np.float32]], NDArray[np.bool_]], NDArray[np.bool_]]:
    """Returns a judge of outputs, (pictures, …), and what the commonest class hits."""
    if head in ("softmax", "logits"):
        if labels.max() >= columns:
            raise InputError(
                f"the model has {columns} classes, but the data has class_index {labels.max()}; give the data that the "
                "model was made for"
            )
        return lambda outputs: topk_hits(outputs, labels, 1), labels == np.bincount(labels).argmax()
    if head == "sigmoid":
        if positive is None and labels.max() > 1:
            raise InputError(
                "the model has one output, yes or no, and the data more than two classes; name the class that is the "
                "yes with --positive"
            )
        truths = labels == (1 if positive is None else positive)
        return lambda outputs: (outputs.reshape(len(outputs)) >= THRESHOLD) == truths, truths == (truths.mean() > 1 / 2)
    raise InputError(
        f"the output is {head}, and class indices cannot show which range of pixels it needs; state it with --pixels"
    )
