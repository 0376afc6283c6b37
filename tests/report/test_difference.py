import pytest

from mnedge.report import difference
from mnedge.results.accuracy import AccuracyRow, Figures
from mnedge.results.latency import LatencyRow
from mnedge.validation.accuracy import wilson_interval


def _accuracy(**metrics: float) -> AccuracyRow:
    return AccuracyRow("a", "r", "local", "demo", 9, Figures(metrics))


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    # Newcombe 1998, Table II, contrasts a, b and e, method 10.
    [((48, 80), (56, 70), 0.0524, 0.3339), ((3, 10), (9, 10), 0.1705, 0.8090), ((0, 29), (5, 56), -0.0381, 0.1926)],
)
def test_intervals_are_those_of_the_paper(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    shares = [(hits / count, wilson_interval(hits, count)) for hits, count in (first, second)]
    found = difference.of_shares(*shares)
    assert found.low == pytest.approx(low, abs=1e-4)
    assert found.high == pytest.approx(high, abs=1e-4)
    assert found.shown is (low > 0)


def test_the_order_turns_the_sign() -> None:
    one, other = (0.9, wilson_interval(90, 100)), (0.6, wilson_interval(60, 100))
    there, back = difference.of_shares(one, other), difference.of_shares(other, one)
    assert there.value == -back.value
    assert (there.low, there.high) == (pytest.approx(-(back.high or 0)), pytest.approx(-(back.low or 0)))
    assert there.shown is back.shown is True


def test_accuracy_without_an_interval_shows_nothing_and_without_a_value_is_none() -> None:
    found = difference.of_accuracy(_accuracy(map50=0.5), _accuracy(map50=0.7), "map50")
    assert found is not None
    assert (round(found.value, 6), found.shown) == (0.2, None)
    assert difference.of_accuracy(_accuracy(), _accuracy(top1=0.7), "top1") is None
    assert difference.of_accuracy(None, _accuracy(top1=0.7), "top1") is None


@pytest.mark.parametrize(
    ("first", "second", "ratio", "shown"),
    [
        ((8.0, 9.0), (4.0, 5.0), 2.0, True),
        ((4.0, 5.0), (8.0, 9.0), 0.5, True),
        ((4.0, 9.0), (3.9, 4.1), 4.0 / 3.9, False),
        ((4.0, 5.0), (4.0, 5.0), 1.0, False),
    ],
)
def test_latency_is_shown_where_nine_of_ten_runs_beat_the_other_median(
    first: tuple[float, float], second: tuple[float, float], ratio: float, shown: bool
) -> None:
    rows = [LatencyRow("a", "r", "local", 1, p50, p90) for p50, p90 in (first, second)]
    found = difference.of_latency(*rows)
    assert found is not None
    assert (found.value, found.shown) == (pytest.approx(ratio), shown)
