"""classify.py of a Raspberry Pi, and classify.js of a page: what a threshold changes in their answers."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.bundles._app import SHIPPED

if TYPE_CHECKING:
    from collections.abc import Callable

# Scores, head, threshold, and the answers: the index of each, with a yes or no where labels stand by themselves.
_CASES: list[tuple[list[float], str, float | None, list[Any]]] = [
    ([0.6, 0.4], "softmax", None, [0, 1]),
    ([0.5, 0.5], "softmax", None, [0, 1]),
    ([0.6, 0.4], "softmax", 0.4, [1, 0]),
    ([0.1, 0.9], "softmax", 0.95, [0, 1]),
    # The second class has 0.269.
    ([1.0, 0.0], "logits", 0.26, [1, 0]),
    ([1.0, 0.0], "logits", 0.28, [0, 1]),
    ([0.2, 0.5], "multi-label", None, [(0, False), (1, True)]),
    ([0.2, 0.5], "multi-label", 0.2, [(0, True), (1, True)]),
    ([0.7], "sigmoid", 0.75, [(0, False)]),
    ([0.2, 0.5, 0.3], "softmax", None, [1, 2, 0]),
]


def _said(rows: list[dict[str, Any]]) -> list[Any]:
    return [(row["index"], row["yes"]) if "yes" in row else row["index"] for row in rows]


def _asked(case: tuple[list[float], str, float | None, list[Any]]) -> list[float]:
    """The scores as float32 has them, since runtimes give no others."""
    return np.asarray(case[0], np.float32).tolist()


@pytest.mark.parametrize("case", _CASES)
def test_the_program_for_boards(program_of: Callable[[str], Any], case: Any) -> None:
    scores, head, threshold, wanted = case
    threshold = None if threshold is None else float(np.float32(threshold))
    labels = ["a", "b", "c"][: len(scores)]
    found = program_of("classify").answers(np.asarray(scores, np.float32), labels, head, 3, threshold)
    assert _said(found) == wanted
    assert [row["label"] for row in found] == [labels[row["index"]] for row in found]


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
def test_the_page() -> None:
    cases = [
        (_asked(case), case[1], None if case[2] is None else float(np.float32(case[2])), list("abc"[: len(case[0])]))
        for case in _CASES
    ]
    script = f"""
    import {{ answerOf }} from {json.dumps((SHIPPED / "_web" / "classify.js").as_uri())};
    const said = {json.dumps(cases)}.map(([scores, head, threshold, labels]) =>
      answerOf([scores], threshold === null ? {{ head }} : {{ head, threshold }}, labels, null));
    console.log(JSON.stringify(said));
    """
    argv = ["node", "--input-type=module", "--eval", script]
    found = json.loads(subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout)
    assert list(map(_said, found)) == [case[3] for case in _CASES]


def test_logits_become_probabilities_without_overflow(program_of: Callable[[str], Any]) -> None:
    scores = np.array([1000, 1000 + np.log(3), -1000], np.float32)
    first, second, _ = program_of("classify").answers(scores, ["ant", "bee", "cat"], "logits", 3)
    assert (first["label"], second["label"]) == ("bee", "ant")
    assert (first["score"], second["score"]) == pytest.approx((0.75, 0.25), abs=1e-4)
