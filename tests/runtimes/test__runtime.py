import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.graph.graph import Quantization
from mnedge.runtimes import TensorSpec, for_file, get
from mnedge.runtimes._runtime import decode, encode

_PIXELS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


@pytest.mark.parametrize(("dtype", "zero_point", "first"), [("int8", -1, -128), ("uint8", 127, 0)])
def test_every_pixel_keeps_a_step_of_its_own(dtype: str, zero_point: int, first: int) -> None:
    spec = TensorSpec("image", _PIXELS.shape, dtype, Quantization.per_tensor(1 / 127.5, zero_point))
    steps = encode(_PIXELS, spec)
    assert str(steps.dtype) == dtype
    assert steps.astype(int).ravel().tolist() == list(range(first, first + 256))
    assert np.abs(decode(steps, spec) - (_PIXELS / 127.5 - 1)).max() <= 0.5 / 127.5 + 1e-6


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "first"),
    [("uint8", 1 / 255, 0, 0), ("int8", 1 / 255, -128, -128), ("int8", 1.0, 0, -128), ("uint8", 0.0186, 114, 0)],
)
def test_other_ranges_get_the_pixels_as_they_are(dtype: str, scale: float, zero_point: int, first: int) -> None:
    spec = TensorSpec("image", _PIXELS.shape, dtype, Quantization.per_tensor(scale, zero_point))
    assert encode(_PIXELS, spec).astype(int).ravel().tolist() == list(range(first, first + 256))


def test_a_narrow_calibration_is_no_other_range() -> None:
    spec = TensorSpec("image", _PIXELS.shape, "int8", Quantization.per_tensor(1.8 / 255, -10))
    steps = encode(_PIXELS, spec).astype(int)
    assert np.abs(np.clip(_PIXELS / 127.5 - 1, -0.83, 0.96) - decode(steps, spec)).max() < 0.02


def test_float_models_get_minus_one_to_one() -> None:
    real = encode(_PIXELS, TensorSpec("image", _PIXELS.shape, "float32"))
    assert (real.min(), real.max(), real.dtype) == (-1.0, 1.0, np.float32)
    assert decode(real, TensorSpec("image", _PIXELS.shape, "float32")) is real


def test_the_suffix_says_the_runtime(tmp_path) -> None:  # noqa: ANN001
    assert for_file(tmp_path / "a.tflite") == "litert"
    assert for_file(tmp_path / "a.onnx") == "onnxruntime"
    with pytest.raises(InputError, match=r"no runtime loads \.pb"):
        for_file(tmp_path / "a.pb")


def test_a_file_that_litert_refuses(tmp_path) -> None:  # noqa: ANN001
    (tmp_path / "a.tflite").write_bytes(b"\x18\0\0\0TFL3" + b"\0" * 64)
    with pytest.raises(InputError, match=r"refuses .*a\.tflite"):
        get("litert").open(tmp_path / "a.tflite", 1)
