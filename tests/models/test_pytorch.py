"""Weights of PyTorch: the networks that take them compute what PyTorch's do."""

from __future__ import annotations

import json
import logging
import pickle
import re
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.formats.keras import keras_to_graph
from mnedge.models.build import build_model, classes_of, load_backbone, named_weights, style_of
from mnedge.models.features import features
from mnedge.models.pytorch import Style, resolution_of
from mnedge.models.transfer import save_trained, transfer_model
from mnedge.models.variant import Variant
from mnedge.passes._pass import run_passes
from mnedge.passes.fold_preprocessing import pixel_input
from mnedge.pixels import SYMMETRIC, Pixels
from tests.slow import rest_is_slow

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SIDE, _CLASSES = 64, 10
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_NETS = {
    "timm v1": ("v1", 0.25), "torchvision v2": ("v2", 0.35), "torchvision v3-small": ("v3-small", 1.0),
    "timm v3-small": ("v3-small", 1.0), "timm v4-conv-small": ("v4-conv-small", 0.35),
    "timm v4-conv-medium": ("v4-conv-medium", 0.25), "timm v4-hybrid-medium": ("v4-hybrid-medium", 0.25),
}  # fmt: skip


def _picture(side: int = _SIDE, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (1, side, side, 3), np.uint8)


def _prepared(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """As torchvision.transforms do it: NCHW, divided by 255, mean and deviation."""
    nchw = picture.transpose(0, 3, 1, 2) / 255
    mean, std = (np.array(values).reshape(1, 3, 1, 1) for values in (_MEAN, _STD))
    return ((nchw - mean) / std).astype(np.float32)


@pytest.mark.parametrize("name", rest_is_slow(_NETS, 2, 3))
def test_a_network_computes_what_pytorch_does(
    name: str, pytorch_net: Any, write_safetensors: Any, tmp_path: Path
) -> None:
    family, alpha = _NETS[name]
    net = pytorch_net(name, alpha, _CLASSES)
    file = write_safetensors(tmp_path / "model.safetensors", net.state)
    variant = Variant(family, alpha, _SIDE, _CLASSES)
    assert classes_of(variant, file) == _CLASSES
    said = np.asarray(build_model(variant, file)(SYMMETRIC.real(_picture())))
    (wanted,) = net.session().run(None, {"image": _prepared(_picture())})
    assert wanted.max() > 1.5 / _CLASSES, "the classes are told apart"
    np.testing.assert_allclose(said, wanted, rtol=0, atol=1e-4 * wanted.max())


@pytest.fixture(scope="module")
def net(pytorch_net: Any) -> Any:
    return pytorch_net("timm v4-conv-small", 0.35, _CLASSES)


@pytest.fixture
def file(net: Any, write_safetensors: Any, tmp_path: Path) -> Path:
    return write_safetensors(tmp_path / "model.safetensors", net.state)


VARIANT = Variant("v4-conv-small", 0.35, _SIDE, _CLASSES)


@pytest.mark.slow
def test_int8_takes_the_pixels_and_keeps_the_padding(file: Path) -> None:
    graph = run_passes(keras_to_graph(build_model(VARIANT, file)), ("fold-pad",))
    left, pixels = pixel_input(graph, SYMMETRIC)
    imagenet = Pixels.parse("imagenet")
    assert pixels.scale == pytest.approx(imagenet.scale, rel=1e-5)
    assert pixels.offset == pytest.approx(imagenet.offset, rel=1e-5)
    assert [op.kind for op in left.ops[:2]] == ["PAD", "CONV_2D"]
    assert sum(op.kind == "PAD" for op in left.ops) == 5


@pytest.mark.slow
def test_training_starts_from_them_and_its_keras_is_built_alike(file: Path, net: Any, tmp_path: Path) -> None:
    model, new_layers = transfer_model(replace(VARIANT, classes=3), file)
    assert "logits" in new_layers
    style = style_of(file)
    assert style == Style(symmetric=True, pixels=Pixels.parse("imagenet"))
    trained = tmp_path / "trained.keras"
    save_trained(model, trained, {"classes": ["a", "b", "c"], "pytorch": style.to_json()})
    again = build_model(replace(VARIANT, classes=3), trained)
    picture = SYMMETRIC.real(_picture())
    np.testing.assert_allclose(again(picture), model(picture), rtol=1e-5)
    shared = model.get_layer("block_16_conv").get_weights()[0]
    assert np.array_equal(shared[0, 0], net.state["blocks.4.0.conv.weight"][:, :, 0, 0].T)


@pytest.mark.slow
def test_a_head_stands_on_the_backbone(file: Path) -> None:
    maps = features(load_backbone(VARIANT, file))
    assert {stride: int(found.shape[1]) for stride, found in maps.by_stride.items()} == {
        1: 64, 2: 32, 4: 16, 8: 8, 16: 4, 32: 2,
    }  # fmt: skip
    model, _ = transfer_model(replace(VARIANT, head="lr-aspp", output_stride=None, classes=3), file)
    assert any(layer.name == "stem_pad" for layer in model.layers)
    with pytest.raises(InputError, match="is a classifier's and holds no other head; train one"):
        build_model(replace(VARIANT, head="lr-aspp", output_stride=None, classes=3), file)


def test_a_backbone_alone_is_taken(net: Any, write_safetensors: Any, tmp_path: Path) -> None:
    arrays = {name: values for name, values in net.state.items() if not name.startswith("classifier")}
    file = write_safetensors(tmp_path / "model.safetensors", arrays)
    assert classes_of(VARIANT, file) is None
    assert load_backbone(VARIANT, file).output_shape == (1, 2, 2, 336)


def test_half_floats_are_taken(net: Any, write_safetensors: Any, tmp_path: Path) -> None:
    arrays = {
        name: values.astype(np.float16) if values.dtype == np.float32 else values for name, values in net.state.items()
    }
    model = build_model(VARIANT, write_safetensors(tmp_path / "model.safetensors", arrays))
    stem = net.state["conv_stem.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(model.get_layer("stem").get_weights()[0], stem, atol=2e-3)


@pytest.mark.slow
def test_the_config_beside_the_weights_says_the_pixels_and_the_padding(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        build_model(VARIANT, file)
    assert "no config.json beside" in caplog.text
    details = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "input_size": [3, 256, 256]}
    config = file.with_name("config.json")
    config.write_text(json.dumps({"architecture": "mobilenetv4_conv_small_035", "pretrained_cfg": details}))
    assert style_of(file) == Style(symmetric=True, pixels=Pixels.normalized((127.5,) * 3, (127.5,) * 3))
    assert resolution_of(file) == 256
    assert not any(layer.name == "pixels" for layer in build_model(VARIANT, file).layers), "-1..1 is what comes in"
    config.write_text(json.dumps({"architecture": "tf_mobilenetv3_small_100", **details}))
    style = style_of(file)
    assert style is not None
    assert not style.symmetric
    config.write_text('{"pretrained_cfg": {"mean": [0.5, 0.5], "std": [0, 0, 0]}}')
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        style_of(file)
    config.write_text('{"model_type": "something else"}')
    assert resolution_of(file) is None


def test_another_network_is_named(file: Path, net: Any, write_safetensors: Any) -> None:
    with pytest.raises(InputError, match=r"it holds v4-conv-small with alpha 0\.35 of timm, with 10 classes"):
        classes_of(Variant("v2", 1.0, _SIDE, _CLASSES), file)
    with pytest.raises(InputError, match="tells 10 classes apart, asked for are 5"):
        build_model(replace(VARIANT, classes=5), file)
    write_safetensors(file, {"layer.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(InputError, match="are those of no published MobileNet"):
        classes_of(VARIANT, file)
    broken = {**net.state, "bn1.running_var": -net.state["bn1.running_var"]}
    with pytest.raises(InputError, match=r"bn1\.running_var has values below 0"):
        build_model(VARIANT, write_safetensors(file, broken))
    broken = {**net.state, "bn1.bias": net.state["bn1.bias"] * np.float32("nan")}
    with pytest.raises(InputError, match=r"not numbers \(in bn1\.bias\)"):
        build_model(VARIANT, write_safetensors(file, broken))


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickle_is_refused_unread(protocol: int, *, is_zip: bool, tmp_path: Path) -> None:
    path, content = tmp_path / "model.pth", pickle.dumps(_Harmful(), protocol=protocol)
    if is_zip:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model/data.pkl", content)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape("save_file(torch.load('model.pth', weights_only=True), 'model.saf")):
        build_model(VARIANT, path)


def test_an_odd_side_that_pytorch_halves_otherwise_is_refused(
    pytorch_net: Any, write_safetensors: Any, tmp_path: Path
) -> None:
    net = pytorch_net("timm v1", 0.25, _CLASSES)
    file = write_safetensors(tmp_path / "model.safetensors", net.state)
    with pytest.raises(InputError, match="another map at 33 px than with Keras'; give a --resolution"):
        load_backbone(Variant("v1", 0.25, 33, _CLASSES), file)


def test_a_name_of_timm_is_found_in_the_hubs_cache(
    net: Any, write_safetensors: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    with pytest.raises(InputError, match=r"timm:net is not in the hub's cache; put model\.safetensors and"):
        named_weights("timm:net", ("random",))
    placed = {}
    for name, revisions in (("net.one", ("abc", "def")), ("net.two", ("abc",)), ("netting", ("abc",))):
        for revision in revisions:
            folder = tmp_path / "hub" / f"models--timm--{name}" / "snapshots" / revision
            folder.mkdir(parents=True)
            placed[name, revision] = write_safetensors(folder / "model.safetensors", net.state)
    refs = tmp_path / "hub" / "models--timm--net.one" / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    assert named_weights("timm:net.one", ()) == placed["net.one", "abc"]
    assert named_weights("timm:netting", ()) == placed["netting", "abc"]
    with pytest.raises(InputError, match=r"several networks in .*: timm:net\.one, timm:net\.two; give one of these"):
        named_weights("timm:net", ())
    with pytest.raises(InputError, match="--weights takes random, timm:NAME, or a file that exists"):
        named_weights("nothing.h5", ("random",))


def test_torchvisions_v2_says_what_its_onnx_says(shared_data: Path, write_safetensors: Any, tmp_path: Path) -> None:
    """The exact ImageNet weights of torchvision, whose export has folded the batch norms into the convolutions."""
    import onnx
    import onnxruntime
    from onnx import numpy_helper
    from PIL import Image

    source = shared_data / "models" / "onnx" / "torchvision_mobilenet_v2_opset13.onnx"
    graph = onnx.load(str(source)).graph
    held = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    arrays: dict[str, NDArray[np.generic]] = {name: held[name] for name in ("classifier.1.weight", "classifier.1.bias")}
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        # The exporter's scopes are the modules: /features/features.1/conv/conv.0/conv.0.0/Conv_output_0.
        scopes = node.output[0].split("/")[2:-1]
        name = scopes[0] if len(scopes) == 1 else f"{scopes[0]}.{scopes[-1]}"
        name = scopes[-1] if scopes[-1].startswith("features") else name
        module, _, place = name.rpartition(".")
        bias = held[node.input[2]]
        arrays[f"{name}.weight"] = held[node.input[1]]
        norm = f"{module}.{int(place) + 1}"
        parts = {"weight": np.full_like(bias, np.sqrt(np.float32(1 + 1e-5))), "bias": bias}
        parts |= {"running_mean": np.zeros_like(bias), "running_var": np.ones_like(bias)}
        arrays |= {f"{norm}.{part}": values for part, values in parts.items()}
    file = write_safetensors(tmp_path / "mobilenet_v2.safetensors", arrays)
    model = build_model(Variant("v2"), file)
    session = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    photos = sorted((shared_data / "imagenet").rglob("*.jp*g"))[:6]
    assert photos
    for photo in photos:
        with Image.open(photo) as image:
            picture = np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))[None]
        (logits,) = session.run(None, {"input": _prepared(picture)})
        wanted = np.exp(logits - logits.max())
        said = np.asarray(model(SYMMETRIC.real(picture)))
        np.testing.assert_allclose(said, wanted / wanted.sum(), rtol=1e-3, atol=1e-5)
