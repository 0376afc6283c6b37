"""Detectors and segmenters of others, command by command; the files are in the shared data."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mnedge import runtimes
from mnedge.cli import main
from mnedge.codegen import vectors
from mnedge.codegen.compile import compile_c
from mnedge.formats.tflite_read import parse_tflite, read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.cut import cut
from mnedge.passes import sink_transposes
from mnedge.runtimes.litert import LiteRtSession
from mnedge.validation.latency import random_input

if TYPE_CHECKING:
    from mnedge.runtimes import TensorSpec

pytestmark = pytest.mark.shared


def _run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(list(args))
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def _json(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    code, out, err = _run(capsys, *args, "--json")
    assert code == 0, err
    return json.loads(out)


def _file(shared_data: Path, start: str) -> str:
    (path,) = (shared_data / "models" / "tasks").glob(f"{start}*.tflite")
    return str(path)


def test_the_options_of_a_detector_are_shown(capsys: pytest.CaptureFixture[str], shared_data: Path) -> None:
    path = _file(shared_data, "ssd_mobilenet_v1")
    found = _json(capsys, "inspect", path)
    (custom,) = found["custom_ops"]
    assert custom["kind"] == "TFLite_Detection_PostProcess"
    assert custom["options"]["num_classes"] == 37
    assert custom["options"]["nms_iou_threshold"] == 0.6
    assert [row["shape"] for row in found["outputs"]] == [[1, 10, 4], [1, 10], [1, 10], [1]]
    code, out, _ = _run(capsys, "inspect", path)
    assert code == 0
    assert "nms_iou_threshold" in out
    assert "1x10x4" in out
    assert "1 float op in" in out


@pytest.mark.parametrize(
    ("start", "kinds", "dilated"),
    [
        ("deeplabv3_mnv2_dm05", {"ARG_MAX", "RESIZE_BILINEAR", "CONCATENATION"}, 3),
        ("deeplab_mobilenet_edgetpu", {"TILE", "ARG_MAX"}, None),
        ("lightface", {"TRANSPOSE", "SLICE", "EXP", "PAD"}, 0),
        ("ssd_slim", {"PAD", "SOFTMAX"}, 0),
    ],
)
def test_every_op_is_shown(
    capsys: pytest.CaptureFixture[str], shared_data: Path, start: str, kinds: set[str], dilated: int | None
) -> None:
    found = _json(capsys, "inspect", _file(shared_data, start))
    assert {row["kind"] for row in found["ops"]} >= kinds
    if dilated is not None:
        assert sum(row["dilated"] for row in found["ops"]) == dilated
    assert "error" not in found["runtime"]
    _, out, _ = _run(capsys, "inspect", _file(shared_data, start))
    assert ("dilated" in out) == (dilated != 0 and any(row["dilated"] for row in found["ops"]))


def test_agreement_of_a_segmenter_is_that_of_its_pixels(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.tflite"
    found = _json(capsys, "optimize", _file(shared_data, "deeplabv3_mnv2_dm05"), "-o", str(out))
    (row,) = found["agreement"]
    (output,) = row["outputs"]
    assert (row["top1_agreement"], output["unit"]) == (None, "indices")
    assert output["equal_fraction"] > 0.99
    # Global pooling is what kept XNNPACK from taking all but the last op.
    assert found["before"]["partitions"] == 2
    assert found["after"]["partitions"] == 1


def test_optimizing_a_detector_compares_every_output(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.tflite"
    found = _json(capsys, "optimize", _file(shared_data, "ssd_slim"), "-o", str(out))
    (row,) = found["agreement"]
    assert len(row["outputs"]) == 2
    assert row["identical"]
    code, _, err = _run(capsys, "optimize", _file(shared_data, "ssd_slim"), "-o", str(out), "--data", "demo")
    assert code == 2
    assert "does not say which range its pixels have" in err


@pytest.mark.parametrize("start", ["ssd_slim", "ssd_mobilenet_v1", "lightface"])
def test_bench_takes_any_input_and_any_outputs(
    capsys: pytest.CaptureFixture[str], shared_data: Path, start: str
) -> None:
    found = _json(capsys, "bench", _file(shared_data, start), "--seconds", "0.2")
    assert found["latency"][0]["p50_ms"] > 0


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("ssd_mobilenet_v1", ("TFLite_Detection_PostProcess (op 63, output", "--outputs Squeeze,convert_scores")),
        ("deeplabv3_mnv2_dm05", ("RESIZE_BILINEAR (output", "mnedge optimize")),
    ],
)
def test_what_cannot_be_compiled_is_named(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path, start: str, said: tuple[str, ...]
) -> None:
    out = tmp_path / "c"
    code, _, err = _run(capsys, "compile", _file(shared_data, start), "--target", "generic", "--out", str(out))
    assert code == 3
    assert not out.exists()
    for expected in said:
        assert expected in err


def _step(spec: TensorSpec) -> tuple[float, int]:
    """Scale and zero point of an end; those of indices stand for themselves."""
    found = spec.quantization
    return (1.0, 0) if found is None else (float(found.scale[0]), int(found.zero_point[0]))


def _compiled_equals_reference(path: Path, folder: Path, outputs: list[str]) -> None:
    """Runs the C on this machine, without the emulator, whose memory is too small."""
    data = write_tflite(cut(read_tflite(path), (), outputs))
    compile_c(parse_tflite(data, "cut"), name="m", target="generic", out=folder, model=data, measure=False)
    session = runtimes.get("compiled-c").open(folder, 1)
    images = vectors.noise(int(np.prod(session.input.shape)))
    ends = tuple(
        tuple((spec.dtype, *_step(spec)) for spec in specs) for specs in ((session.input,), tuple(session.outputs))
    )
    expected = vectors.reference_outputs(data, images, ends)
    assert expected is not None
    for image, reference in zip(images, expected, strict=True):
        made = session.run(image.view(session.input.dtype).reshape(session.input.shape))
        assert np.array_equal(np.concatenate([output.view(np.int8).ravel() for output in made]), reference)


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on this machine")
@pytest.mark.parametrize(
    ("start", "outputs"),
    [
        ("ssd_mobilenet_v1", ["Squeeze", "convert_scores"]),
        ("deeplabv3_mnv2_dm05", []),
        ("deeplab_mobilenet_edgetpu", []),
    ],
)
def test_a_uint8_model_compiles_once_it_is_int8(
    capsys: pytest.CaptureFixture[str],
    shared_data: Path,
    tmp_path: Path,
    start: str,
    outputs: list[str],
) -> None:
    int8 = tmp_path / "int8.tflite"
    arguments = ("optimize", _file(shared_data, start), "--target", "generic", "--no-measure", "-o", str(int8))
    assert _run(capsys, *arguments)[0] == 0
    _compiled_equals_reference(int8, tmp_path / "c", outputs)


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on this machine")
def test_a_detector_that_decodes_its_boxes_compiles_between_its_float_ends(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path
) -> None:
    int8 = tmp_path / "int8.tflite"
    arguments = ("optimize", _file(shared_data, "lightface"), "--target", "generic", "--no-measure", "-o", str(int8))
    assert _run(capsys, *arguments)[0] == 0
    _compiled_equals_reference(int8, tmp_path / "c", [])


def test_transposes_and_batch_norms_of_an_nchw_export_go(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path
) -> None:
    source = Path(_file(shared_data, "lightface"))
    found = _json(capsys, "optimize", str(source), "-o", str(tmp_path / "out.tflite"))
    removed = {row["name"]: row["removed"] for row in found["passes"]}
    assert removed["sink-transposes"] == {"TRANSPOSE": 55}
    assert removed["fold-batch-norm"] == {"MUL": 25, "ADD": 25}
    # Where it rounded three times it rounds once: boxes and scores move by a step or two.
    assert all(row["equal_fraction"] > 0.5 for row in found["agreement"][0]["outputs"])
    # The bytes of the transposed values are the same to the last one.
    sunk = tmp_path / "sunk.tflite"
    sunk.write_bytes(write_tflite(sink_transposes.apply(read_tflite(source))))
    sessions = [LiteRtSession(path, 1) for path in (source, sunk)]
    image = random_input(sessions[0].input, 3)
    for before, after in zip(*(session.run(image) for session in sessions), strict=True):
        assert np.array_equal(before, after)


def test_a_detector_is_one_partition_up_to_its_post_processing(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path
) -> None:
    found = _json(capsys, "optimize", _file(shared_data, "ssd_mobilenet_v1"), "-o", str(tmp_path / "out.tflite"))
    assert found["before"]["partitions"] == 2
    assert found["after"]["partitions"] == 1
    assert len(found["agreement"][0]["outputs"]) == 4


def test_a_segmenter_of_others_is_validated(capsys: pytest.CaptureFixture[str], shared_data: Path) -> None:
    pets = str(shared_data / "small" / "pets_segmentation")
    arguments = ("validate", _file(shared_data, "deeplabv3_mnv2_dm05"), "--task", "segment", "--data", pets)
    found = _json(capsys, *arguments, "--images", "24", "--class-map", "8=cat,12=dog,rest=background")
    # 0.885 on all of them.
    assert found["accuracy"][0]["mean_iou"] > 0.7
    code, _, err = _run(capsys, *arguments, "--images", "4")
    assert code == 2
    assert "--class-map" in err


def test_a_detector_of_others_is_validated(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path
) -> None:
    pets = shared_data / "small" / "pets_segmentation"
    (tmp_path / "images").symlink_to(pets / "images")
    table = csv.DictReader((pets / "split.csv").read_text().splitlines())
    rows = [row for row in table if row["split"] == "val"][::5]
    lines = ["filename,split,class,x1,y1,x2,y2"]
    for row in rows:
        mask = np.asarray(Image.open(pets / "masks" / f"{Path(row['filename']).stem}.png"))
        down, across = np.nonzero((mask == 1) | (mask == 2))
        # Heads are what this model finds, and they lie in the upper half.
        box = (across.min(), down.min(), across.max() + 1, (down.min() + down.max() + 1) // 2)
        lines.append(f"images/{row['filename']},eval,{row['species']},{','.join(map(str, box))}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    cats = ",".join(f"{index}=cat" for index in (0, 5, 6, 7, 9, 11, 20, 23, 26, 27, 32, 33))
    arguments = ["validate", _file(shared_data, "ssd_mobilenet_v1"), "--task", "detect"]
    arguments += ["--data", str(tmp_path / "labels.csv"), "--class-map", f"{cats},rest=dog"]
    found = _json(capsys, *arguments)
    assert found["accuracy"][0]["images"] == len(rows)
    # Half a body is no head: what counts is that classes and places fit at all.
    assert found["accuracy"][0]["map50"] > 0.05
    # TensorFlow 2 sorts the outputs by name: scores, boxes, count, classes.
    graph = read_tflite(Path(arguments[1]))
    boxes, classes, scores, count = graph.outputs
    shuffled = tmp_path / "shuffled.tflite"
    shuffled.write_bytes(write_tflite(graph.replaced(outputs=(scores, boxes, count, classes))))
    again = _json(capsys, arguments[0], str(shuffled), *arguments[2:])
    assert again["accuracy"][0]["map50"] == found["accuracy"][0]["map50"]


@pytest.mark.parametrize(("start", "shape"), [("lightface", "1x3x240x320")])
def test_pictures_that_a_model_does_not_take_are_told(
    capsys: pytest.CaptureFixture[str], shared_data: Path, start: str, shape: str
) -> None:
    data = str(shared_data / "small" / "bccd")
    code, out, err = _run(capsys, "validate", _file(shared_data, start), "--task", "detect", "--data", data)
    assert (code, out) == (2, "")
    assert f"takes {shape}" in err


def test_what_is_quantized_already_is_told_at_once(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path
) -> None:
    source = _file(shared_data, "ssd_mobilenet_v1")
    code, _, err = _run(capsys, "quantize", source, "-o", str(tmp_path / "out.tflite"))
    assert code == 3
    assert "is quantized already" in err
    assert len(err.strip().splitlines()) == 1


def test_tflm_of_uint8_names_the_op(capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path) -> None:
    source = _file(shared_data, "deeplabv3_mnv2_dm05")
    arguments = ("compile", source, "--format", "tflm", "--target", "cortex-m4", "--out", str(tmp_path / "out"))
    code, _, err = _run(capsys, *arguments)
    assert code == 3
    assert "uint8 weights (55 ops, the first op 0" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("vela", path=str(Path(sys.executable).parent)) is None, reason="no vela")
def test_vela_writes_to_a_relative_folder(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = _file(shared_data, "ssd_slim")
    code, _, err = _run(capsys, "compile", source, "--target", "ethos-u55-128", "--out", "out/vela")
    assert code == 0, err
    assert list((tmp_path / "out" / "vela").glob("*_vela.tflite"))
