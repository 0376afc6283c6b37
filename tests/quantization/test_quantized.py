"""Agreement of classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnedge.graph.executor import predict
from mnedge.quantization.ptq import quantize_ptq
from mnedge.quantization.quantized import int8_agreement, top1_agreement


def test_agreement_is_the_share_of_equal_classes() -> None:
    ours = np.eye(4)[[0, 1, 2, 3]]
    theirs = np.eye(4)[[0, 1, 2, 0]]
    assert top1_agreement(ours, theirs) == 0.75
    assert top1_agreement(ours, ours * 5) == 1.0


def test_a_segmentation_is_counted_by_pixel() -> None:
    ours = np.zeros((2, 3, 3, 2))
    theirs = ours.copy()
    theirs[0, 0, 0, 1] = 1
    assert np.isclose(top1_agreement(ours, theirs), 17 / 18)


def test_the_executors_agreement_is_litert_s(separable: Any, images: Any, litert: Any) -> None:
    graph = separable().graph()
    int8 = quantize_ptq(graph, images(12), effort="fast", ranges="min-max").graph
    pictures = images(80, 7)
    reference = predict(graph, pictures)
    measured = top1_agreement(reference, litert(int8, pictures))
    assert abs(int8_agreement(int8, reference, pictures) - measured) <= 0.05
    assert int8_agreement(graph, reference, pictures) == 1.0
