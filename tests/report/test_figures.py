import pytest

from mnedge.report import figures


@pytest.mark.parametrize(
    ("count_bytes", "text"),
    [(0, "0 B"), (1023, "1,023 B"), (1024, "1.00 KiB"), (530_176, "518 KiB"), (2_735_432, "2.61 MiB"), (None, "–")],
)
def test_sizes(count_bytes: int | None, text: str) -> None:
    assert figures.size(count_bytes) == text.replace("1,023", "1023")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (3.0711, "3.07"), (9.996, "10.0"), (31.04, "31.0"), (99.96, "100"), (1234.5, "1,234"),
        (0.0078, "0.00780"), (2.1e-6, "2.10e-06"), (0.5, "0.500"), (0.09996, "0.100"), (0.9996, "1.00"),
    ],
)  # fmt: skip
def test_three_figures(value: float, text: str) -> None:
    assert figures.three(value) == text


@pytest.mark.parametrize(
    ("fraction", "text"), [(-0.0067, "−0.7"), (0.012, "+1.2"), (0.0004, "±0.0"), (-0.0004, "±0.0")]
)
def test_points_have_a_sign_unless_they_round_to_nothing(fraction: float, text: str) -> None:
    assert figures.points(fraction) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), ([], "–"), (True, "yes"), (False, "no"), (12345, "12,345"), (0.96984, "0.9698"),
        (["cpu", "cortex-m4"], "cpu, cortex-m4"), ({"min_top1": 0.9}, "min_top1 0.9"), ("text", "text"),
    ],
)  # fmt: skip
def test_any_json_value(value: object, text: str) -> None:
    assert figures.plain(value) == text


def test_seconds_and_magnitudes() -> None:
    assert (figures.seconds(0.84), figures.seconds(75.0), figures.seconds(None)) == ("0.8 s", "1 min 15 s", "–")
    assert (figures.magnitude(56_500_000), figures.magnitude(512), figures.magnitude(None)) == ("56.5 M", "512", "–")
