"""Agreement of classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnedge.graph.executor import predict
from mnedge.quantization.interpret import first_output
from mnedge.quantization.ptq import PostTraining, quantize_ptq
from mnedge.quantization.quantized import agreement_of


def test_agreement_is_the_share_of_equal_classes() -> None:
    ours = np.eye(4)[[0, 1, 2, 3]]
    theirs = np.eye(4)[[0, 1, 2, 0]]
    assert agreement_of("logits", ours, theirs) == 0.75
    assert agreement_of("logits", ours, ours * 5) == 1.0


def test_a_segmentation_is_counted_by_pixel() -> None:
    ours = np.zeros((2, 3, 3, 2))
    theirs = ours.copy()
    theirs[0, 0, 0, 1] = 1
    assert np.isclose(agreement_of("logits", ours, theirs), 17 / 18)


def test_the_executors_agreement_is_litert_s(separable: Any, images: Any, litert: Any) -> None:
    graph = separable().graph()
    int8 = quantize_ptq(graph, images(12), PostTraining(effort="fast", ranges="min-max")).graph
    pictures = images(80, 7)
    reference = predict(graph, pictures)
    measured = agreement_of("logits", reference, litert(int8, pictures))
    assert abs(agreement_of("logits", reference, first_output(int8, pictures)) - measured) <= 0.05
    assert agreement_of("logits", reference, first_output(graph, pictures)) == 1.0
