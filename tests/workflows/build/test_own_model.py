"""Builds of models that mnedge did not make: figures are held against Keras' own predictions on the same files."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.errors import InputError
from mnedge.formats.pixels import pixels_of
from mnedge.recipe import Recipe
from mnedge.results.report import read_report
from mnedge.workflows.build.pipeline import build
from mnedge.workflows.verify import verify

_SIDE = 12
_CLASSES = ("dark", "light", "mid")
_LEVELS = {"dark": (10, 60), "mid": (105, 150), "light": (195, 245)}
_EACH = 60


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cache of this module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNEDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of three shades of red, a folder a class; every eighth lies in a wrong one, so no model is perfect."""
    return _photos(tmp_path_factory.mktemp("data") / "photos", _CLASSES)


def _photos(folder: Path, names: tuple[str, ...]) -> Path:
    rng = np.random.default_rng(7)
    for place, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(_EACH):
            seen = names[(place + 1) % len(names)] if number % 8 == 0 else name
            level = rng.uniform(*_LEVELS[_CLASSES[names.index(seen)]])
            # Red is the class; green and blue say nothing, so that BGR is wrong.
            levels = np.array([level, *rng.uniform(0, 255, 2)])
            picture = np.clip(levels + rng.normal(0, 8, (_SIDE, _SIDE, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / name / f"{number:03d}.png")
    return folder


def _network(
    head: str = "softmax",
    *,
    rescaling: tuple[float, float] | None = (1 / 127.5, -1.0),
    whole: float = 255.0,
    order: tuple[str, ...] = _CLASSES,
    shape: tuple[int | None, int | None, int] = (_SIDE, _SIDE, 3),
) -> Any:
    """A Keras model that tells the three shades of red apart; its weights are set by hand.

    Args:
        head: softmax, logits, or sigmoid (light or not).
        rescaling: Scale and offset of a Rescaling layer; None for none.
        whole: Value of a white pixel at the input.
        order: Classes in the order of the outputs.
        shape: Of the input.
    """
    import keras

    keras.utils.set_random_seed(1)
    scale, offset = rescaling or (1.0, 0.0)
    layers = [keras.Input(shape)]
    if rescaling is not None:
        layers.append(keras.layers.Rescaling(scale, offset))
    layers += [
        keras.layers.Conv2D(8, 3, activation="relu", name="conv"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(1 if head == "sigmoid" else len(order), name="answer"),
    ]
    if head in ("softmax", "sigmoid"):
        layers.append(keras.layers.Activation(head))
    model = keras.Sequential(layers)
    # Channel 0 becomes the red, 0..1, which the answer is a linear function of; all others see noise.
    kernel = np.random.default_rng(2).normal(0, 0.1, (3, 3, 3, 8)) / (scale * whole)
    kernel[..., 0] = 0
    kernel[:, :, 0, 0] = 1 / 9 / (scale * whole)
    bias = np.zeros(8)
    bias[0] = -offset / (scale * whole)
    model.get_layer("conv").set_weights([kernel, bias])
    lines = {"dark": (0.0, 0.0), "mid": (30.0, -10.0), "light": (60.0, -30.0)}
    chosen = [(30.0, -20.0)] if head == "sigmoid" else [lines[name] for name in order]
    weights = np.zeros((8, len(chosen)))
    weights[0] = [slope for slope, _ in chosen]
    model.get_layer("answer").set_weights([weights, np.array([start for _, start in chosen])])
    return model


def _as_torch_exports(model: Any, more: int = 0) -> bytes:
    """The .onnx of a model without Rescaling as PyTorch writes it: NCHW, a free batch, logits.

    Args:
        model: The model.
        more: Outputs behind those of its classes, which never win.
    """
    from onnx import TensorProto, helper, numpy_helper

    kernel, bias = model.get_layer("conv").get_weights()
    dense, start = model.get_layer("answer").get_weights()
    values = {"kernel": kernel.transpose(3, 2, 0, 1), "bias": bias, "dense": np.pad(dense, ((0, 0), (0, more))).T,
              "start": np.pad(start, (0, more), constant_values=-100)}  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["input", "kernel", "bias"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense", "start"], ["logits"], transB=1),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in
            (("input", ("batch", 3, _SIDE, _SIDE)), ("logits", ("batch", len(start) + more)))]  # fmt: skip
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "torch_jit", ends[:1], ends[1:], constants)
    made: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    ).SerializeToString()
    return made


@dataclass
class _Built:
    """A build: its folder, report.json, and Keras' answers to the pictures of the eval split."""

    folder: Path
    report: dict[str, Any]
    answers: Any
    truths: list[str]

    def top1(self) -> list[float]:
        return [row["top1"] for row in self.report["accuracy"]]


def _build(
    model: Any, photos: Path, folder: Path, suffix: str = ".keras", whole: float = 255.0, **given: Any
) -> _Built:
    """Saves a model, builds it and has Keras answer the pictures that the build measured, which PIL reads."""
    path = folder / f"my model{suffix}"
    if suffix == ".tflite":
        import tensorflow as tf

        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    elif suffix == ".onnx":
        path.write_bytes(_as_torch_exports(model))
    else:
        model.save(path)
    recipe = replace(Recipe(model=str(path), data=str(photos), int8=True, effort="fast"), **given)
    report = build(recipe, folder / "out")
    assert read_report(folder / "out") == report
    assert verify(folder / "out").files >= 6
    dataset = open_dataset(str(photos))
    numbers = dataset.split("eval")
    files = [Path(dataset.sources[number]) for number in numbers]
    files = [file if file.is_absolute() else photos / file for file in files]
    pictures = np.stack([np.asarray(Image.open(file).convert("RGB"), np.float32) for file in files])
    answers = model.predict(pictures / 255 * whole, verbose=0)
    truths = [file.parent.name for file in files]
    return _Built(folder / "out", json.loads((folder / "out" / "report.json").read_text()), answers, truths)


def _right(built: _Built, order: tuple[str, ...] = _CLASSES) -> float:
    said = [order[place] for place in built.answers.argmax(axis=1)]
    return float(np.mean([one == other for one, other in zip(said, built.truths, strict=True)]))


def _check(built: _Built, right: float, pixels: str) -> None:
    """Every artifact is right as often as Keras, int8 agrees, and all say what a picture is to them."""
    assert 0.5 < right < 1.0
    tops = built.top1()
    assert tops[0] == pytest.approx(right, abs=1e-4)
    assert all(top == pytest.approx(right, abs=0.03) for top in tops)
    assert all(row["top1_agreement"] >= 0.97 for row in built.report["parity"])
    assert all(row["float_ops"] in (0, None) for row in built.report["int8"])
    assert {row["format"] for row in built.report["artifacts"]} >= {"tflite"}
    for row in built.report["artifacts"]:
        file = built.folder / row["path"]
        if row["precision"] == "fp32":
            assert str(pixels_of(file)) == pixels, file
        elif file.is_file():
            assert pixels_of(file) is not None, file


def test_a_softmax_with_its_rescaling_inside(photos: Path, tmp_path: Path) -> None:
    built = _build(_network(), photos, tmp_path)
    _check(built, _right(built), "0..255")
    variant = built.report["variant"]
    assert (variant["family"], variant["alpha"]) == (None, None)
    assert (variant["resolution"], variant["classes"], variant["head"]) == (_SIDE, 3, "softmax")
    assert built.report["slug"] == "my_model"
    assert (built.folder / "labels.txt").read_text().split() == list(_CLASSES)
    names = {row["path"] for row in built.report["artifacts"]}
    assert names == {f"my_model.{kind}" for kind in ("fp32.tflite", "fp32.onnx", "int8.tflite", "int8.onnx")}


def test_a_range_that_is_told(photos: Path, tmp_path: Path) -> None:
    built = _build(_network(rescaling=None, whole=1.0), photos, tmp_path, whole=1.0, pixels="0..1")
    _check(built, _right(built), "0..1")


def test_a_range_that_pictures_show(photos: Path, tmp_path: Path) -> None:
    built = _build(_network(rescaling=None), photos, tmp_path, pixels=None)
    _check(built, _right(built), "0..255")


def test_logits_without_softmax(photos: Path, tmp_path: Path) -> None:
    built = _build(_network("logits"), photos, tmp_path)
    _check(built, _right(built), "0..255")
    assert (built.folder / "labels.txt").read_text().split() == list(_CLASSES)


def test_an_h5_is_built_as_well(photos: Path, tmp_path: Path) -> None:
    built = _build(_network(), photos, tmp_path, suffix=".h5")
    _check(built, _right(built), "0..255")


def test_a_float_tflite_is_built_as_well(photos: Path, tmp_path: Path) -> None:
    built = _build(_network(), photos, tmp_path, suffix=".tflite", pixels="0..255")
    _check(built, _right(built), "0..255")


def test_an_onnx_is_built_as_well(photos: Path, tmp_path: Path) -> None:
    built = _build(_network("logits", rescaling=None), photos, tmp_path, suffix=".onnx")
    _check(built, _right(built), "0..255")


def test_logits_of_more_classes_than_a_csv_shows_are_answers(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "torch.onnx"
    path.write_bytes(_as_torch_exports(_network("logits", rescaling=None), more=4))
    rows = [f"{file},{_CLASSES.index(file.parent.name)}" for file in sorted(photos.rglob("*.png"))]
    (tmp_path / "labels.csv").write_text("filename,class_index\n" + "\n".join(rows) + "\n")
    recipe = Recipe(model=str(path), data=str(tmp_path / "labels.csv"), int8=True, effort="fast", pixels="0..255")
    report = build(recipe, tmp_path / "out")
    assert len(report.accuracy) == 4
    assert all((row.metric("top1") or 0) > 0.5 for row in report.accuracy)


def test_labels_in_another_order_than_the_folders(photos: Path, tmp_path: Path) -> None:
    order = ("mid", "dark", "light")
    (tmp_path / "names.txt").write_text("\n".join(order) + "\n")
    built = _build(_network(order=order), photos, tmp_path, labels=str(tmp_path / "names.txt"))
    _check(built, _right(built, order), "0..255")
    assert (built.folder / "labels.txt").read_text().split() == list(order)


def test_one_output_and_two_classes(tmp_path: Path) -> None:
    photos = _photos(tmp_path / "two", ("dark", "light"))
    built = _build(_network("sigmoid"), photos, tmp_path)
    said = np.where(built.answers[:, 0] >= 0.5, "light", "dark")
    _check(built, float(np.mean(said == np.array(built.truths))), "0..255")
    assert (built.folder / "labels.txt").read_text().split() == ["light"]


def test_one_output_and_the_class_that_is_the_yes(photos: Path, tmp_path: Path) -> None:
    built = _build(_network("sigmoid"), photos, tmp_path, positive="light")
    truths = np.array(built.truths) == "light"
    _check(built, float(np.mean((built.answers[:, 0] >= 0.5) == truths)), "0..255")


def test_a_free_height_and_width_takes_a_size(photos: Path, tmp_path: Path) -> None:
    built = _build(_network(shape=(None, None, 3)), photos, tmp_path, size="12")
    _check(built, _right(built), "0..255")


def test_c_for_a_microcontroller(photos: Path, tmp_path: Path) -> None:
    built = _build(_network(), photos, tmp_path, targets=("cortex-m4",))
    _check(built, _right(built), "0..255")
    folders = [row["path"] for row in built.report["artifacts"] if row["format"] == "c"]
    assert len(folders) == 1
    assert list((built.folder / folders[0]).glob("*.c"))
    assert built.report["memory"]


def test_training_with_fake_quantization(photos: Path, tmp_path: Path) -> None:
    built = _build(_network(), photos, tmp_path, method="qat")
    _check(built, _right(built), "0..255")


def test_one_output_is_trained_with_fake_quantization(photos: Path, tmp_path: Path) -> None:
    built = _build(_network("sigmoid"), photos, tmp_path, positive="light", method="qat")
    assert built.report["parity"]
    assert all(row["top1_agreement"] > 0.9 for row in built.report["parity"])


def test_the_user_says_what_the_outputs_are(photos: Path, tmp_path: Path) -> None:
    # Three values without activation look like logits; as plain numbers they have no answers to agree on.
    built = _build(_network("logits"), photos, tmp_path, head="numbers")
    assert built.report["variant"]["head"] == "numbers"
    assert built.report["accuracy"] == []
    assert all(row.get("top1_agreement") is None for row in built.report["parity"])
    # Files that say the very same have no noise to measure.
    measured = [row["snr_db"] for row in built.report["parity"] if row.get("snr_db") is not None]
    assert measured
    assert min(measured) > 15


def test_a_kind_that_no_output_has_is_refused(photos: Path, tmp_path: Path) -> None:
    assert "sigmoid takes one value" in _refused(_network(), photos, tmp_path, head="sigmoid")
    assert "multi-label" in _refused(_network(), photos, tmp_path, head="lr-aspp")


def _refused(model: Any, photos: Path, folder: Path, **given: Any) -> str:
    path = folder / "m.keras"
    model.save(path)
    with pytest.raises(InputError) as caught:
        build(replace(Recipe(model=str(path), data=str(photos), int8=True, effort="fast"), **given), folder / "out")
    assert not (folder / "out").exists()
    return str(caught.value)


def test_names_that_do_not_fit_are_refused_with_both_lists(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\nmid\n")
    said = _refused(_network(), photos, tmp_path, labels=str(tmp_path / "names.txt"))
    assert "cat, dog, mid" in said
    assert "dark, light, mid" in said


def test_another_number_of_outputs_is_refused(photos: Path, tmp_path: Path) -> None:
    said = _refused(_network(order=("dark", "light", "mid", "mid")), photos, tmp_path)
    assert "4 outputs" in said
    assert "dark, light, mid" in said


def test_one_output_and_three_classes_is_refused(photos: Path, tmp_path: Path) -> None:
    assert "--positive" in _refused(_network("sigmoid"), photos, tmp_path)


def test_a_free_size_without_one_is_refused(photos: Path, tmp_path: Path) -> None:
    assert "--size" in _refused(_network(shape=(None, None, 3)), photos, tmp_path)


def test_two_inputs_are_refused(photos: Path, tmp_path: Path) -> None:
    import keras

    one, other = keras.Input((_SIDE, _SIDE, 3)), keras.Input((_SIDE, _SIDE, 3))
    summed = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([one, other]))
    model = keras.Model([one, other], keras.layers.Dense(3, activation="softmax")(summed))
    assert "2 inputs" in _refused(model, photos, tmp_path)


def test_pixels_that_nothing_shows_are_asked_for(photos: Path, tmp_path: Path) -> None:
    model = _network(rescaling=None)
    # Always the same answer, whatever the range of the pixels is.
    model.get_layer("answer").set_weights([np.zeros((8, 3)), np.array([1.0, 0.0, 0.0])])
    said = _refused(model, photos, tmp_path)
    assert "--pixels" in said
    assert "0..1" in said
