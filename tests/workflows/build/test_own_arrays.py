"""A build of a model of two inputs and two outputs on arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.errors import InputError, MnedgeError, UnsupportedError
from mnedge.formats.tflite_read import read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Signature, Tensor, constant
from mnedge.quantization.interpret import interpret
from mnedge.recipe import Recipe
from mnedge.results import stored
from mnedge.results.report import Report
from mnedge.workflows.build.pipeline import build

if TYPE_CHECKING:
    from pathlib import Path


def two_in_two_out() -> Graph:
    """Classes of a picture and three numbers, and one number beside them, by arguments of a signature."""
    rng = np.random.default_rng(2)
    values = {"w1": rng.normal(0, 0.4, (6, 3, 3, 3)), "b1": np.zeros(6), "w2": rng.normal(0, 1, (4, 9)),
              "b2": np.zeros(4), "w3": rng.normal(0, 1, (1, 9)), "b3": np.zeros(1)}  # fmt: skip
    shapes = {"serve_features:0": (1, 3), "serve_photo:0": (1, 8, 8, 3), "c": (1, 4, 4, 6), "m": (1, 6), "j": (1, 9),
              "l": (1, 4), "Call:1": (1, 4), "Call:0": (1, 1)}  # fmt: skip
    tensors = [Tensor(name, shape, "float32") for name, shape in shapes.items()]
    tensors += [constant(name, value.astype(np.float32)) for name, value in values.items()]
    tensors.append(constant("axes", np.array([1, 2], np.int32)))
    kernel = {"stride_h": 2, "stride_w": 2, "padding": "SAME", "dilation_h_factor": 1, "dilation_w_factor": 1}
    ops = (
        Op("CONV_2D", ("serve_photo:0", "w1", "b1"), ("c",), {**kernel, "activation": "RELU"}),
        Op("MEAN", ("c", "axes"), ("m",), {"keep_dims": False}),
        Op("CONCATENATION", ("m", "serve_features:0"), ("j",), {"axis": 1, "activation": "NONE"}),
        Op("FULLY_CONNECTED", ("j", "w2", "b2"), ("l",), {"activation": "NONE"}),
        Op("SOFTMAX", ("l",), ("Call:1",), {"beta": 1.0}),
        Op("FULLY_CONNECTED", ("j", "w3", "b3"), ("Call:0",), {"activation": "NONE"}),
    )
    signature = Signature(
        "serving_default",
        (("features", "serve_features:0"), ("photo", "serve_photo:0")),
        (("kind", "Call:1"), ("age", "Call:0")),
    )
    names = {tensor.name: tensor for tensor in tensors}
    return Graph(names, ops, ("serve_features:0", "serve_photo:0"), ("Call:1", "Call:0"), signatures=(signature,))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The model, and 60 samples of its inputs with what it says of them."""
    from mnedge.batch import Batch

    folder, rng, graph = tmp_path_factory.mktemp("arrays"), np.random.default_rng(3), two_in_two_out()
    photo = (rng.integers(0, 256, (60, 8, 8, 3)) / 255).astype(np.float32)
    features = rng.uniform(-2, 2, (60, 3)).astype(np.float32)
    batch = Batch({"serve_features:0": features, "serve_photo:0": photo})
    made = interpret(graph, batch, lambda _, outputs: [output.copy() for output in outputs])
    kinds, ages = (np.concatenate([outputs[place] for outputs in made]) for place in (0, 1))
    (folder / "two.tflite").write_bytes(write_tflite(graph))
    truths = {"y": kinds.argmax(1), "y:age": ages + np.float32(0.5)}
    np.savez(folder / "samples.npz", photo=photo, features=features, **truths)
    return folder / "two.tflite", folder / "samples.npz"


def test_a_model_of_two_inputs_is_built_measured_and_reported(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, samples = files
    report = build(Recipe(model=str(model), data=str(samples), int8=True), tmp_path / "out")
    assert report == stored.read(tmp_path / "out" / "report.json", Report)
    made = sorted(path.name for path in (tmp_path / "out").glob("two.*"))
    assert made == ["two.fp32.onnx", "two.fp32.tflite", "two.int8.onnx", "two.int8.tflite"]
    rows = {(row.artifact, row.output): row for row in report.outputs}
    assert {output for _, output in rows} == {"kind", "age"}
    for name in made:
        kind, age = rows[name, "kind"], rows[name, "age"]
        assert (kind.kind, age.kind, kind.images) == ("softmax", "numbers", 30)
        assert kind.figures["top1"] >= 0.9
        assert age.figures["mae"] == pytest.approx(0.5, abs=0.05)
    int8 = rows["two.int8.tflite", "age"]
    assert (int8.reference, int8.agreement) == ("two.fp32.tflite", None)
    assert int8.agreement_snr_db is not None
    assert int8.agreement_snr_db > 30
    assert {row.artifact for row in report.accuracy} == set(made)
    assert [row.float_ops for row in report.int8] == [0, 0]
    from mnedge.report.terminal import print_report

    print_report(report)
    assert "mean error 0.5" in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "mean error 0.5" in page
    assert " 0 px" not in page


def test_names_and_signatures_go_through(files: tuple[Path, Path], tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    from mnedge.workflows.optimize import optimize
    from mnedge.workflows.quantize import quantize

    model, samples = files
    quantize(model, tmp_path / "two.int8.tflite", str(samples), io="float32")
    optimize(model, tmp_path / "two.optimized.tflite")
    optimize(tmp_path / "two.int8.tflite", tmp_path / "two.int8.optimized.tflite")
    held = np.load(samples)
    for name in ("two.int8.tflite", "two.optimized.tflite", "two.int8.optimized.tflite"):
        path = tmp_path / name
        assert read_tflite(path).signatures == two_in_two_out().signatures
        run = Interpreter(str(path)).get_signature_runner("serving_default")
        assert (sorted(run.get_input_details()), sorted(run.get_output_details())) == (
            ["features", "photo"], ["age", "kind"],
        )  # fmt: skip
        made = run(features=held["features"][:1], photo=held["photo"][:1])
        assert made["kind"].argmax() == held["y"][0]
        assert made["age"][0, 0] + 0.5 == pytest.approx(held["y:age"][0, 0], abs=0.1)


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"method": "qat"}, UnsupportedError, "training with fake quantization takes pictures"),
        ({"bundles": ("android",)}, InputError, "the bundle android is for pictures"),
        ({"positive": "cat"}, InputError, "--positive cat is for pictures"),
    ],
)
def test_what_takes_pictures_is_refused(
    files: tuple[Path, Path], tmp_path: Path, settings: dict[str, object], kind: type[MnedgeError], words: str
) -> None:
    model, samples = files
    recipe = Recipe(model=str(model), data=str(samples), int8=True, **settings)  # type: ignore[arg-type]
    with pytest.raises(kind, match=words):
        build(recipe, tmp_path / "out")


def test_pictures_for_two_inputs_are_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 inputs \(serve_features:0, serve_photo:0\).* --data FILE\.npz"):
        build(Recipe(model=str(files[0]), int8=True), tmp_path / "out")


def test_arrays_that_do_not_fit_are_found_out_first(files: tuple[Path, Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", photo=np.zeros((3, 8, 8, 3), np.float32))
    with pytest.raises(InputError, match=r"holds photo \(8x8x3 float32\); .*no array for serve_features"):
        build(Recipe(model=str(files[0]), data=str(tmp_path / "few.npz"), int8=True), tmp_path / "out")
