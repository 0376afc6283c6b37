import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.pixels import CHANNELS, SYMMETRIC, Pixels

_EVERY = np.arange(256, dtype=np.uint8)


def test_the_symmetric_range_is_what_mobilenets_of_keras_take() -> None:
    assert np.array_equal(SYMMETRIC.real(_EVERY), _EVERY.astype(np.float32) / np.float32(127.5) - np.float32(1))


@pytest.mark.parametrize(
    ("words", "low", "high"),
    [("0..255", 0, 255), ("0..1", 0, 1), ("-1..1", -1, 1), ("127.5,127.5", -1, 1), ("-2..6", -2, 6)],
)
def test_a_range_sends_black_and_white_to_its_ends(words: str, low: float, high: float) -> None:
    real = Pixels.parse(words).real(_EVERY)
    assert (real[0], real[255]) == (low, pytest.approx(high))


def test_imagenet_is_mean_and_deviation_of_torchvision() -> None:
    picture = np.full((2, 2, 3), (10, 100, 200), np.uint8)
    due = (picture / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    assert Pixels.parse("imagenet").real(picture) == pytest.approx(due, abs=1e-5)
    assert Pixels.parse("imagenet", "BGR").scale == Pixels.parse("imagenet").scale[::-1]


def test_caffe_subtracts_the_mean_of_blue_first() -> None:
    assert Pixels.parse("caffe").order == "BGR"
    assert Pixels.parse("caffe").real(np.zeros((1, 3), np.uint8))[0] == pytest.approx([-103.939, -116.779, -123.68])


@pytest.mark.parametrize(
    "words", ["", "0..", "1..0", "nan..1", "0..inf", "5", "1,2,3", "0,0", "1,2,3,4,5,-6", "0..1..2", "bgr"]
)
def test_what_is_no_range_is_refused(words: str) -> None:
    with pytest.raises(InputError):
        Pixels.parse(words)


@pytest.mark.parametrize(("words", "shown"), [("0..255", "0..255"), ("-1..1", "-1..1"), ("0..1", "0..1")])
def test_a_range_says_its_ends(words: str, shown: str) -> None:
    assert str(Pixels.parse(words)) == shown


@pytest.mark.parametrize("words", ["0..255", "-1..1", "imagenet", "caffe", "0..1 BGR", "0..255 GREY", "0..1 RGBA"])
def test_metadata_brings_the_same_value_back(words: str) -> None:
    pixels = Pixels.parse(words)
    assert Pixels.from_bytes(pixels.to_bytes()) == pixels
    with pytest.raises(InputError, match=r"mnedge\.pixels is damaged"):
        Pixels.from_bytes(pixels.to_bytes()[:-1])


def test_the_order_may_follow_the_range() -> None:
    assert Pixels.parse("0..255 bgr") == Pixels.between(0, 255, "BGR")
    with pytest.raises(InputError, match="unknown order of channels 'GRB'"):
        Pixels.parse("0..255 GRB")
    with pytest.raises(InputError, match="three colours"):
        Pixels.parse("caffe GREY")


def test_pictures_are_arranged_as_pillow_does_it() -> None:
    from PIL import Image

    picture = np.random.default_rng(1).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    assert np.array_equal(
        Pixels.parse("0..1 GREY").arranged(picture)[..., 0], np.asarray(Image.fromarray(picture).convert("L"))
    )
    assert np.array_equal(
        Pixels.parse("0..1 RGBA").arranged(picture), np.asarray(Image.fromarray(picture).convert("RGBA"))
    )
    assert np.array_equal(Pixels.parse("0..1 BGR").arranged(picture), picture[..., ::-1])


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (SYMMETRIC, "pixel / 127.5 - 1"),
        (Pixels((float(np.float32(1 / 127.5)),), (-1.0,)), "pixel / 127.5 - 1"),
        (Pixels.parse("0..1"), "pixel / 255"),
        (Pixels.parse("0..255"), "pixel"),
        (Pixels.parse("-0.5..0.5 GREY"), "pixel / 255 - 0.5"),
        (Pixels.parse("0..1020"), "pixel * 4"),
        (
            Pixels.parse("imagenet"),
            "(pixel - (123.675, 116.28, 103.53)) / (58.395, 57.12, 57.375), channel by channel",
        ),
        (Pixels.parse("caffe"), "(pixel - (103.939, 116.779, 123.68)) / (1, 1, 1), channel by channel"),
    ],
)
def test_the_formula_is_the_map(pixels: Pixels, words: str) -> None:
    assert pixels.formula == words
    every = np.repeat(np.arange(256, dtype=np.uint8)[:, None], CHANNELS[pixels.order], axis=1)
    told = eval(words.partition(", channel")[0], {"pixel": every.astype(np.float64)})  # noqa: S307 - the words above
    np.testing.assert_allclose(np.broadcast_to(told, every.shape), pixels.real(every), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(
        np.broadcast_to((every - np.array(pixels.mean)) / pixels.deviation, every.shape),
        pixels.real(every), rtol=1e-6, atol=1e-5,
    )  # fmt: skip
