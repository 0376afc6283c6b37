import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.graph.graph import Quantization
from mnedge.pixels import SYMMETRIC, Pixels
from mnedge.runtimes import TensorSpec, for_file, get
from mnedge.runtimes._runtime import decode, encode, takes_pixels

_PIXELS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


@pytest.mark.parametrize(("dtype", "zero_point", "first"), [("int8", -1, -128), ("uint8", 127, 0)])
def test_every_pixel_keeps_a_step_of_its_own(dtype: str, zero_point: int, first: int) -> None:
    spec = TensorSpec("image", _PIXELS.shape, dtype, Quantization.per_tensor(1 / 127.5, zero_point))
    steps = encode(_PIXELS, spec, SYMMETRIC)
    assert str(steps.dtype) == dtype
    assert steps.astype(int).ravel().tolist() == list(range(first, first + 256))
    assert np.abs(decode(steps, spec) - (_PIXELS / 127.5 - 1)).max() <= 0.5 / 127.5 + 1e-6


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "words"),
    [
        ("uint8", 1 / 255, 0, "0..1"),
        ("int8", 1 / 255, -128, "0..1"),
        ("int8", 1.0, -128, "0..255"),
        ("uint8", 1 / 58.4, 124, "123.7,58.4"),
    ],
)
def test_the_range_decides_what_a_pixel_is(dtype: str, scale: float, zero_point: int, words: str) -> None:
    spec = TensorSpec("image", _PIXELS.shape, dtype, Quantization.per_tensor(scale, zero_point))
    first = np.iinfo(dtype).min
    assert encode(_PIXELS, spec, Pixels.parse(words)).astype(int).ravel().tolist() == list(range(first, first + 256))


def test_a_narrow_calibration_clips_the_range_that_is_told() -> None:
    spec = TensorSpec("image", _PIXELS.shape, "int8", Quantization.per_tensor(1.8 / 255, -10))
    steps = encode(_PIXELS, spec, SYMMETRIC).astype(int)
    assert np.abs(np.clip(_PIXELS / 127.5 - 1, -0.83, 0.96) - decode(steps, spec)).max() < 0.02


def test_float_models_get_real_numbers_channel_by_channel() -> None:
    picture = np.dstack([_PIXELS[0], _PIXELS[0] // 2, 255 - _PIXELS[0]])
    spec = TensorSpec("image", (1, *picture.shape), "float32")
    imagenet = Pixels.parse("imagenet")
    real = encode(picture[None], spec, imagenet)
    assert real.dtype == np.float32
    assert np.array_equal(real[0], imagenet.real(picture))
    assert decode(real, spec) is real


def test_the_suffix_says_the_runtime(tmp_path) -> None:  # noqa: ANN001
    assert for_file(tmp_path / "a.tflite") == "litert"
    assert for_file(tmp_path / "a.onnx") == for_file(tmp_path / "a.ort") == "onnxruntime"
    with pytest.raises(InputError, match=r"no runtime loads \.pb"):
        for_file(tmp_path / "a.pb")


def test_a_file_that_litert_refuses(tmp_path) -> None:  # noqa: ANN001
    (tmp_path / "a.tflite").write_bytes(b"\x18\0\0\0TFL3" + b"\0" * 64)
    with pytest.raises(InputError, match=r"refuses .*a\.tflite"):
        get("litert").open(tmp_path / "a.tflite", 1)


def test_an_input_takes_pixels_where_every_one_is_its_step() -> None:
    shape = (1, 4, 4, 3)
    steps = TensorSpec("image", shape, "int8", Quantization.per_tensor(1 / 127.5, -1))
    assert takes_pixels(steps, SYMMETRIC)
    assert takes_pixels(TensorSpec("image", shape, "uint8", Quantization.per_tensor(1 / 255, 0)), Pixels.between(0, 1))
    for other in (Pixels.between(0, 1), Pixels.parse("imagenet"), Pixels.between(-1, 0.9)):
        assert not takes_pixels(steps, other)
    assert not takes_pixels(TensorSpec("image", shape, "float32"), SYMMETRIC)
