"""Ranges of pixels that labelled pictures show, on a network that is right in one range only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from mnedge.data.content import Content
from mnedge.data.dataset import Dataset
from mnedge.errors import InputError
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.pixels import Pixels
from mnedge.validation.candidates import (
    Candidate,
    candidates_for,
    chance_of,
    disagreement,
    score_candidates,
    shown_pixels,
)

_COUNT = 120


def network(words: str, colours: tuple[float, float, float] = (1, 0, 0), head: str = "SOFTMAX") -> Graph:
    """Says in which quarter of the range the mean of a colour lies; each class is highest between two limits."""
    # Half-way between two pixels, so that no picture is a tie.
    ends = Pixels.parse(words).real(np.array([[63, 64], [127, 128], [191, 192]], np.uint8))
    limits = ends.mean(axis=1)
    slopes = np.arange(4, dtype=np.float32)
    weights = slopes[:, None] * np.array(colours, np.float32)
    bias = -np.concatenate([[0], np.cumsum(limits)]).astype(np.float32)
    if head == "LOGISTIC":
        weights, bias = weights[1:2], -limits[1:2]
    columns = len(bias)
    tensors = [
        Tensor("image", (1, 6, 6, 3), "float32"),
        constant("axes", np.array([1, 2], np.int32)),
        Tensor("mean", (1, 3), "float32"),
        constant("weights", weights.astype(np.float32)),
        constant("bias", bias),
        Tensor("logits", (1, columns), "float32"),
        Tensor("scores", (1, columns), "float32"),
    ]
    ops = (
        Op("MEAN", ("image", "axes"), ("mean",), {"keep_dims": False}),
        Op("FULLY_CONNECTED", ("mean", "weights", "bias"), ("logits",), {"activation": "NONE"}),
        Op(head, ("logits",), ("scores",), {"beta": 1.0} if head == "SOFTMAX" else {}),
    )
    return Graph({tensor.name: tensor for tensor in tensors}, ops, ("image",), ("scores",))


def pictures(classes: int = 4) -> Dataset:
    """One colour a picture; its red says the class."""
    rng = np.random.default_rng(3)
    levels = rng.integers(0, 256, (_COUNT, 3)).astype(np.uint8)
    labels = (levels[:, 0] // (256 // classes)).astype(np.int64)

    def read(number: int, size: Any) -> Any:
        return np.broadcast_to(levels[number], (*size, 3)).copy()

    numbers = np.arange(_COUNT)
    names = tuple(f"p{number}" for number in range(_COUNT))
    return Dataset(
        name="reds",
        classes=tuple("abcd"[:classes]),
        fixed_classes=True,
        labels=labels,
        splits={"eval": numbers},
        sources=names,
        read=read,
        content=Content(other="x"),
    )


@pytest.mark.parametrize("words", ["0..255", "0..1", "-1..1", "imagenet"])
def test_the_range_that_the_network_was_made_for_is_shown(words: str) -> None:
    shares: list[float] = []
    # A normalised red has a range of its own; the limits are those of that channel.
    made = words if words != "imagenet" else "123.675,58.395"
    graph = network(made)
    found = score_candidates(graph, pictures(), np.arange(_COUNT), progress=shares.append)
    assert shown_pixels(found) == Pixels.parse(words)
    assert found[0].share == 1.0
    assert shares[-1] == 1.0
    assert str(found[0].pixels) == words


def test_the_order_of_channels_is_shown_too() -> None:
    found = score_candidates(network("0..1", (0, 0, 1)), pictures(), np.arange(_COUNT))
    assert shown_pixels(found) == Pixels.parse("0..1 BGR")


def test_what_cannot_be_told_apart_is_an_error_with_the_table() -> None:
    found = score_candidates(network("-1..1", (1 / 3, 1 / 3, 1 / 3)), pictures(), np.arange(_COUNT))
    with pytest.raises(InputError, match=r"do not show.*-1\.\.1 \d.*may be as good.*--pixels"):
        shown_pixels(found)


def test_what_is_right_no_more_often_than_one_class_shows_nothing() -> None:
    blind = np.arange(_COUNT) < 40
    right = np.arange(_COUNT) >= _COUNT - 44
    never = np.zeros(_COUNT, bool)
    found = [Candidate(Pixels.parse(words), hits, blind) for words, hits in (("0..1", right), ("-1..1", never))]
    with pytest.raises(InputError, match=r"0\.\.1 36\.7 %.*commonest class of all is right of 33\.3%.*not trained"):
        shown_pixels(found)
    surely = np.arange(_COUNT) >= 20
    assert shown_pixels([Candidate(Pixels.parse("0..1"), surely, blind), found[1]]) == Pixels.parse("0..1")


def test_blind_is_the_commonest_class() -> None:
    found = score_candidates(network("0..255"), pictures(), np.arange(_COUNT))
    labels = pictures().labels
    assert found[0].blind.sum() == np.bincount(labels).max()
    yes = score_candidates(network("0..255", head="LOGISTIC"), pictures(4), np.arange(_COUNT), positive=2)
    assert yes[0].blind.tolist() == (labels != 2).tolist()


def test_a_stated_range_that_is_wrong_is_a_warning_with_its_points() -> None:
    stated = Pixels.parse("-1..1")
    found = score_candidates(network("0..255"), pictures(), np.arange(_COUNT), stated=stated)
    own = next(candidate.share for candidate in found if candidate.pixels == stated)
    words = disagreement(found, stated)
    assert words is not None
    assert f"stated as -1..1, but 120 labelled pictures show 0..255: 100.0% right instead of {own:.1%}" in words
    assert disagreement(found, Pixels.parse("0..255")) is None


def test_a_range_of_the_users_own_is_scored_with_the_others() -> None:
    stated = Pixels.parse("-3..3")
    found = score_candidates(network("-3..3"), pictures(), np.arange(_COUNT), stated=stated)
    assert shown_pixels(found) == stated


def test_a_yes_or_no_is_scored_at_its_threshold() -> None:
    graph = network("0..255", head="LOGISTIC")
    found = score_candidates(graph, pictures(2), np.arange(_COUNT))
    assert found[0].pixels == Pixels.parse("0..255")
    with pytest.raises(InputError, match="--positive"):
        score_candidates(graph, pictures(4), np.arange(_COUNT))


def test_what_class_indices_cannot_prove_is_refused() -> None:
    with pytest.raises(InputError, match="the output is numbers"):
        score_candidates(network("0..1"), pictures(), np.arange(_COUNT), head="numbers")
    few = network("0..255", head="LOGISTIC")
    with pytest.raises(InputError, match="1 classes, but the data has class_index 3"):
        score_candidates(few, pictures(), np.arange(_COUNT), head="softmax")


@pytest.mark.parametrize(("first", "second"), [(0, 0), (9, 1), (30, 12), (5, 5)])
def test_the_paired_test_is_the_exact_one(first: int, second: int) -> None:
    one = np.array([True] * first + [False] * second + [True] * 50)
    other = np.array([False] * first + [True] * second + [True] * 50)
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert chance_of(one, other) == pytest.approx(expected)
    assert Candidate(Pixels.parse("0..1"), one, other).share == one.mean()


def test_grey_has_no_range_of_colours() -> None:
    assert {pixels.order for pixels in candidates_for(1)} == {"GREY"}
    assert len(candidates_for(1)) == 3
    assert candidates_for(2) == ()
