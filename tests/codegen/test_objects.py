"""The decoder in C against the reference decoder, on outputs of a compiled network."""

import ctypes
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mnedge import command
from mnedge.codegen.compile import compile_c
from mnedge.data.anchors import paper_shapes
from mnedge.data.detections import METADATA, Decoding, detect, metadata_of
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.pixels import pixels_of
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.runtimes.compiled_c import CompiledCSession
from mnedge.validation.detect import decoding_of

_CLASSES = 3
_COMPILER = shutil.which("gcc") or shutil.which("cc")


class _Object(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_float) for name in ("y1", "x1", "y2", "x2", "score")),
        ("label", ctypes.c_int32),
    )


def _decoding(**changes: object) -> Decoding:
    return Decoding(((5, 4),), paper_shapes(1), **changes)  # type: ignore[arg-type]


def _detector(decoding: Decoding) -> Graph:
    """Two 1 x 1 convolutions on a picture of 5 x 4 x 8: scores through a LOGISTIC, and boxes."""
    rng = np.random.default_rng(0)
    tensors = [Tensor("image", (1, 5, 4, 8), "int8", Quantization.per_tensor(1 / 127.5, -1))]
    ops = []
    for name, values, scale in (("logits", _CLASSES, 0.05), ("boxes", 4, 0.08)):
        channels = 6 * values
        weights = rng.integers(-127, 128, (channels, 1, 1, 8)).astype(np.int8)
        scales = np.full(channels, 0.012 if name == "boxes" else 0.006, np.float32)
        tensors += [
            constant(f"{name}/weights", weights, Quantization.per_channel(scales, 0)),
            constant(
                f"{name}/bias", np.zeros(channels, np.int32), Quantization.per_channel(scales / np.float32(127.5), 0)
            ),
            Tensor(f"{name}/map", (1, 5, 4, channels), "int8", Quantization.per_tensor(scale, 5)),
            constant(f"{name}/shape", np.array([1, 120, values], np.int32)),
            Tensor(name, (1, 120, values), "int8", Quantization.per_tensor(scale, 5)),
        ]
        options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "activation": "NONE"}
        options |= {"dilation_h_factor": 1, "dilation_w_factor": 1}
        ops.append(Op("CONV_2D", ("image", f"{name}/weights", f"{name}/bias"), (f"{name}/map",), options))
        ops.append(Op("RESHAPE", (f"{name}/map", f"{name}/shape"), (name,), {"new_shape": np.array([1, 120, values])}))
    tensors.append(Tensor("scores", (1, 120, _CLASSES), "int8", Quantization.per_tensor(1 / 256, -128)))
    ops.append(Op("LOGISTIC", ("logits",), ("scores",)))
    table = {tensor.name: tensor for tensor in tensors}
    return Graph(table, tuple(ops), ("image",), ("scores", "boxes"), {METADATA: metadata_of(decoding)})


def _compiled(folder: Path, decoding: Decoding) -> tuple[CompiledCSession, ctypes.CDLL]:
    compile_c(_detector(decoding), name="cells", target="generic", out=folder, measure=False)
    library = folder.parent / "objects.so"
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]
    # AddressSanitizer takes no library of an interpreter that is without it.
    warnings += ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
    source = folder / "cells_objects.c"
    command.run([str(_COMPILER), "-O2", "-std=c99", *warnings, "-shared", "-fPIC", source, "-o", library, "-lm"])
    return CompiledCSession(folder, 1), ctypes.CDLL(str(library))


@pytest.mark.skipif(_COMPILER is None, reason="no C compiler")
@pytest.mark.parametrize("changes", [{}, {"overlap": 0.2}, {"most": 5}, {"least_score": 0.7}])
def test_c_finds_what_the_reference_finds(tmp_path: Path, changes: dict[str, float]) -> None:
    decoding = _decoding(**changes)
    session, library = _compiled(tmp_path / "c", decoding)
    rng = np.random.default_rng(1)
    for _ in range(5):
        outputs = session.run(rng.integers(-128, 128, (1, 5, 4, 8)).astype(np.int8))
        flat = np.concatenate([output.ravel() for output in outputs])
        objects = (_Object * decoding.most)()
        count = library.cells_objects(flat.ctypes.data_as(ctypes.c_void_p), objects)
        scores, boxes = (
            spec.quantization.dequantize(output.reshape(120, -1))
            for spec, output in zip(session.outputs, outputs, strict=True)
            if spec.quantization is not None
        )
        expected = detect(boxes, scores, decoding)
        assert len(expected.scores) > 0
        found = objects[:count]
        assert [one.label for one in found] == expected.classes.tolist()
        np.testing.assert_allclose([one.score for one in found], expected.scores, atol=1e-6)
        corners = [[one.y1, one.x1, one.y2, one.x2] for one in found]
        np.testing.assert_allclose(corners, expected.corners, atol=1e-5)


def test_the_folder_carries_the_anchors(tmp_path: Path) -> None:
    compile_c(_detector(_decoding()), name="cells", target="generic", out=tmp_path / "c", measure=False)
    assert decoding_of(tmp_path / "c").as_json() == _decoding().as_json()
    assert METADATA in json.loads((tmp_path / "c" / "manifest.json").read_text())["metadata"]
    assert "cells.c cells_objects.c" in (tmp_path / "c" / "CMakeLists.txt").read_text()


@pytest.mark.parametrize("content", ["", "[]", '{"metadata": 3}', '{"metadata": {"mnedge.pixels": 3}}'])
def test_a_damaged_manifest_is_named_by_all_who_read_it(tmp_path: Path, content: str) -> None:
    compile_c(_detector(_decoding()), name="cells", target="generic", out=tmp_path / "c", measure=False)
    (tmp_path / "c" / "manifest.json").write_text(content)
    for read in (decoding_of, pixels_of):
        with pytest.raises(InputError, match=r"c/manifest\.json.*make it again"):
            read(tmp_path / "c")


def test_other_models_have_no_objects(tmp_path: Path, small_int8: Graph) -> None:
    compile_c(small_int8, name="plain", target="generic", out=tmp_path / "c", measure=False)
    assert not list((tmp_path / "c").glob("*objects*"))
    assert "STATIC plain.c)" in (tmp_path / "c" / "CMakeLists.txt").read_text()


def test_anchors_of_another_network_are_refused(tmp_path: Path) -> None:
    wrong = Decoding(((5, 5),), paper_shapes(1))
    with pytest.raises(UnsupportedError, match="120 rows for 150 anchors"):
        compile_c(_detector(wrong), name="cells", target="generic", out=tmp_path / "c", measure=False)
    assert not (tmp_path / "c").exists()
