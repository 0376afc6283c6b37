"""What is drawn into pictures."""

from __future__ import annotations

import numpy as np
import pytest

from mnedge.report.overlay import colour_of, with_frames, with_words


def _grey(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((height, width, 3), 128, np.uint8)


@pytest.mark.parametrize(("side", "line"), [(100, 2), (1000, 5)])
def test_frames_are_as_wide_as_the_picture_is_large(side: int, line: int) -> None:
    drawn = with_frames(_grey(side, side), np.array([[0.2, 0.2, 0.8, 0.8]], np.float32), np.array([3]))
    row = drawn[side // 2, : side // 2]
    assert np.count_nonzero((row == colour_of(3)).all(axis=1)) == line
    assert (drawn[side // 2, side // 2] == 128).all()


def test_words_stand_inside_their_frame() -> None:
    box, classes = np.array([[0.5, 0.25, 1.0, 1.0]], np.float32), np.array([1])
    plain, named = (with_frames(_grey(200, 200), box, classes, words) for words in ((), ("Hund 0.90",)))
    changed = np.argwhere((plain != named).any(axis=2))
    assert changed.size
    assert changed.min(axis=0).tolist() == [102, 52]
    black = np.argwhere((named < 100).all(axis=2))
    assert black.size, "the letters"


def test_lines_stand_below_each_other() -> None:
    one = with_words(_grey(100, 200), ["a 0.9"])
    two = with_words(_grey(100, 200), ["a 0.9", "b 0.1"], [(255, 255, 255), (255, 0, 0)])
    ends = [int(np.argwhere((drawn != 128).any(axis=(1, 2))).max()) for drawn in (one, two)]
    assert ends[1] > ends[0] + 5
    assert (two == (255, 0, 0)).all(axis=2).any()
    assert (with_words(_grey(10, 10), []) == 128).all()


def test_letters_of_any_script_are_drawn() -> None:
    assert (with_words(_grey(100, 200), ["猫 \u202e кот"]) != 128).any()
