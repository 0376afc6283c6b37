"""What of a network's outputs is compared."""

from __future__ import annotations

from typing import Any

from mnedge.quantization.outputs import output_heads


def test_heads_are_the_logits_before_a_softmax(separable: Any) -> None:
    assert output_heads(separable().graph()) == [("logits", True)]
    assert output_heads(separable().graph("logits")) == [("logits", False)]
    assert output_heads(separable().graph("logits"), first_tells_classes=True) == [("logits", True)]
