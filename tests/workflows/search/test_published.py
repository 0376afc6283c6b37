"""Published accuracies, and the estimate between them."""

from __future__ import annotations

import pytest

from mnedge.models import Variant
from mnedge.workflows.search.published import estimate_error, expected_top1


def test_what_was_printed_is_taken_as_printed() -> None:
    # tensorflow/models, slim/nets/mobilenet: the README's tables.
    for variant, top1 in ((Variant("v2", 1.4, 224), 0.750), (Variant("v3-small", 0.75, 224), 0.654)):
        found = expected_top1(variant)
        assert (found.top1, found.source) == (top1, "published")


def test_gaps_are_filled_in_order() -> None:
    found = [expected_top1(Variant("v3-small", 1.0, resolution)) for resolution in (96, 128, 160, 192, 224)]
    assert [one.source for one in found] == ["estimated"] * 4 + ["published"]
    values = [one.top1 for one in found]
    assert values == sorted(values)
    # Howard et al. 2019, figure 1: V3 small at 128 px and 0.75 lies near 0.57, at 1.0 and 128 px near 0.60.
    assert expected_top1(Variant("v3-small", 1.0, 128)).top1 == pytest.approx(0.60, abs=0.03)


def test_the_error_is_of_rows_left_out() -> None:
    error = estimate_error()
    assert error.rows > 40
    assert 0 < error.median < 0.01
    assert error.median < error.worst < 0.03


def test_classes_do_not_matter() -> None:
    assert expected_top1(Variant("v1", 0.25, 96, 5)) == expected_top1(Variant("v1", 0.25, 96, 1000))
