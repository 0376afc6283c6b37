"""What a file says of its pixels: told by mnedge, proven by the steps of its input, or by TFLite Metadata."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.bundles._metadata import Description, metadata_bytes
from mnedge.errors import InputError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.pixels import known_pixels, pixels_of, pixels_of_steps, with_pixels
from mnedge.formats.tflite_metadata import BUFFER
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Quantization
from mnedge.pixels import METADATA, SYMMETRIC, Pixels
from mnedge.quantization.io import with_io

if TYPE_CHECKING:
    from pathlib import Path

_GOOGLE = Pixels((1 / 128,), (-1.0,))


def written(graph: Graph, path: Path) -> Path:
    path.write_bytes(write_onnx(graph) if path.suffix == ".onnx" else write_tflite(graph))
    return path


@pytest.mark.parametrize("name", ["m.tflite", "m.onnx"])
@pytest.mark.parametrize("words", ["0..255", "imagenet", "caffe", "0..1 BGR"])
def test_what_is_written_is_read_back(digits_fp32: Graph, tmp_path: Path, name: str, words: str) -> None:
    pixels = Pixels.parse(words)
    told = replace(digits_fp32, metadata=with_pixels(digits_fp32.metadata, pixels))
    path = written(told, tmp_path / name)
    assert known_pixels(path) == pixels
    assert known_pixels(path, SYMMETRIC) == SYMMETRIC
    assert path.read_bytes() == written(told, tmp_path / f"again{path.suffix}").read_bytes()


def test_an_ort_file_keeps_what_its_onnx_said(digits_fp32: Graph, tmp_path: Path) -> None:
    from mnedge.formats.ort import write_ort

    path = tmp_path / "m.ort"
    path.write_bytes(write_ort(written(digits_fp32, tmp_path / "m.onnx")).data)
    assert pixels_of(path) == SYMMETRIC


@pytest.mark.parametrize("name", ["m.tflite", "m.onnx"])
def test_a_float_file_that_says_nothing_is_an_error_with_the_choices(
    digits_fp32: Graph, tmp_path: Path, name: str
) -> None:
    path = written(replace(digits_fp32, metadata={}), tmp_path / name)
    assert pixels_of(path) is None
    with pytest.raises(InputError, match=r"nothing is assumed.*--pixels: 0\.\.255, 0\.\.1, -1\.\.1, imagenet, caffe"):
        known_pixels(path)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "pixels"),
    [
        ("int8", 1 / 127.5, -1, SYMMETRIC),
        ("int8", 1 / 127.5, 0, SYMMETRIC),
        ("uint8", 1 / 127.5, 127, SYMMETRIC),
        ("int8", 1 / 255, -128, Pixels.between(0, 1)),
        ("int8", 1.0, -128, Pixels.between(0, 255)),
        ("uint8", 1.0, 0, Pixels.between(0, 255)),
        ("uint8", 1 / 128, 128, _GOOGLE),
        ("uint8", 0.0186, 114, None),
        ("int8", 1.8 / 255, -10, None),
        ("int16", 1 / 127.5, 0, None),
    ],
)
def test_steps_prove_a_range_or_nothing(dtype: str, scale: float, zero_point: int, pixels: Pixels | None) -> None:
    assert pixels_of_steps(Quantization.per_tensor(scale, zero_point), dtype, 3) == pixels


def test_steps_prove_the_range_of_grey_pictures_and_of_no_other_channels() -> None:
    steps = Quantization.per_tensor(1.0, -128)
    assert pixels_of_steps(steps, "int8", 1) == Pixels.between(0, 255, "GREY")
    assert pixels_of_steps(steps, "int8", 7) is None


@pytest.mark.parametrize("name", ["m.tflite", "m.onnx"])
def test_an_older_int8_build_shows_its_range(small_int8: Graph, tmp_path: Path, name: str) -> None:
    assert pixels_of(written(replace(small_int8, metadata={}), tmp_path / name)) == SYMMETRIC


def test_normalization_options_are_read(digits_fp32: Graph, small_int8: Graph, tmp_path: Path) -> None:
    content = metadata_bytes(Description("m", "t", "1", "a", "l", (16, 16), SYMMETRIC, tuple("abcdefghij")))
    told = replace(digits_fp32, metadata={BUFFER: content})
    found = pixels_of(written(told, tmp_path / "m.tflite"))
    assert found is not None
    assert found.real(np.arange(256, dtype=np.uint8)) == pytest.approx(np.arange(256) / 127.5 - 1, abs=1e-6)
    # An 8-bit input with steps of its own: its bundle's metadata is of the pictures, its steps of the pixels.
    odd = with_io(small_int8, "uint8")
    tensor = replace(odd.tensors["image"], quantization=Quantization.per_tensor(0.02, 120))
    graph = replace(odd.replaced(tensors=[tensor]), metadata={BUFFER: content})
    assert str(pixels_of(written(graph, tmp_path / "u.tflite"))) == "-1..1"


def test_damage_is_named(digits_fp32: Graph, tmp_path: Path) -> None:
    for metadata, what in (({METADATA: b"{}"}, METADATA), ({BUFFER: b"\xff" * 40}, "TFLite Metadata")):
        path = written(replace(digits_fp32, metadata=metadata), tmp_path / "m.tflite")
        with pytest.raises(InputError, match=f"{what}.*damaged"):
            pixels_of(path)


def test_a_file_cut_short_is_refused_with_its_name(digits_fp32: Graph, tmp_path: Path) -> None:
    whole = written(digits_fp32, tmp_path / "m.tflite").read_bytes()
    cut = tmp_path / "cut.tflite"
    for length in (0, 7, 8, 20, len(whole) // 2):
        cut.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.tflite is cut short or damaged"):
            pixels_of(cut)
