"""Families: what each file declares, and a new one that is a file and nothing else."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib import invalidate_caches
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mnedge.cli import _run
from mnedge.data.demo import open_demo
from mnedge.errors import InputError, UnsupportedError
from mnedge.models import Variant, families
from mnedge.models.build import build_model, classes_of, load_backbone
from mnedge.models.cost import cost
from mnedge.models.features import features
from mnedge.models.transfer import transfer_model
from mnedge.models.variant import sides_by_stride, trace
from mnedge.training.settings import Schedule
from mnedge.workflows.search.candidates import candidates
from mnedge.workflows.search.trainer import TransferTrainer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TOY = '''
"""Toy: a convolution and two depthwise separable ones, each with a stride of 2."""

from functools import partial

from mnedge.models.families import Family, Published
from mnedge.models.network import round_to_eight

_CHANNELS = (16, 24)


def _trace(network, alpha, classes):
    network.conv("stem", round_to_eight(8 * alpha), kernel=3, stride=2)
    for number, channels in enumerate(_CHANNELS):
        network.depthwise(f"block_{number}_depthwise", kernel=3, stride=2)
        network.pointwise(f"block_{number}_project", round_to_eight(channels * alpha))
    network.pool("pool")
    network.fully_connected("predictions", classes)


def _build(image, alpha, classes):
    import keras

    def normed(made, name):
        made = keras.layers.BatchNormalization(name=f"{name}_norm")(made)
        return keras.layers.ReLU(6.0, name=f"{name}_relu")(made)

    plain = partial(keras.layers.Conv2D, padding="same", use_bias=False)
    made = normed(plain(round_to_eight(8 * alpha), 3, 2, name="stem")(image), "stem")
    for number, channels in enumerate(_CHANNELS):
        name = f"block_{number}"
        spread = keras.layers.DepthwiseConv2D(3, 2, padding="same", use_bias=False, name=f"{name}_depthwise")(made)
        project = plain(round_to_eight(channels * alpha), 1, name=f"{name}_project")
        made = normed(project(normed(spread, f"{name}_depthwise")), name)
    if classes is None:
        return made
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(made)
    return keras.layers.Dense(classes, activation="softmax", name="predictions")(pooled)


FAMILIES = (
    Family(
        name="toy",
        title="Toy",
        slug="toy",
        published=(Published(2.0, 48, 0.457, 0.0525, 0.2, "a test"), Published(1.0, 48, 0.196, 0.0262, 0.1, "a test")),
        trace=_trace,
        build=_build,
        stride=8,
    ),
)
'''


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Path]:
    """The file of a family that the package does not have, where the registry looks."""
    (tmp_path / "families").mkdir()
    file = tmp_path / "families" / "toy.py"
    file.write_text(_TOY)
    families.__path__.append(str(file.parent))
    families.by_name.cache_clear()
    yield file
    families.__path__.remove(str(file.parent))
    families.by_name.cache_clear()
    for name in ("toy", "twin"):
        sys.modules.pop(f"{families.__name__}.{name}", None)


def _printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert _run([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def _masks(root: Path) -> Path:
    """Eight pictures of 48 px with a bright half, and their masks."""
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(8):
        pixels, mask = generator.integers(0, 90, (48, 48, 3)), np.zeros((48, 48), np.uint8)
        pixels[:, : 12 + 3 * number, 0] += 150
        mask[:, : 12 + 3 * number] = 1
        Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    rows = [f"{number}.png,{'val' if number % 4 == 0 else 'train'}" for number in range(8)]
    (root / "split.csv").write_text("\n".join(["filename,split", *rows]) + "\n")
    (root / "classes.txt").write_text("background\nred\n")
    return root


def test_the_families_are_the_tokens_of_the_command_line_in_the_order_of_the_papers() -> None:
    assert families.names() == (
        "v1", "v2", "v3-small", "v3-large", "v3-small-minimalistic", "v3-large-minimalistic",
        "v4-conv-small", "v4-conv-medium", "v4-conv-large", "v4-hybrid-medium",
    )  # fmt: skip


def test_a_published_network_that_cannot_be_built_is_refused_by_name() -> None:
    with pytest.raises(
        UnsupportedError, match=r"v4-hybrid-large cannot be built: its layers have GELU, .* take v4-hybrid-m"
    ):
        Variant("v4-hybrid-large")


@pytest.mark.parametrize("name", families.names())
def test_the_last_map_has_the_stride_that_the_family_declares(name: str) -> None:
    family = families.get(name)
    assert max(sides_by_stride(Variant(name, resolution=family.stride * 4))) == family.stride
    assert trace(Variant(name, resolution=family.stride))


@pytest.mark.parametrize(
    ("family", "alpha", "resolution", "has_classifier", "file"),
    [
        ("v1", 0.25, 128, True, "mobilenet_2_5_128_tf.h5"),
        ("v1", 0.25, 128, False, "mobilenet_2_5_128_tf_no_top.h5"),
        ("v2", 0.35, 224, False, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"),
        ("v3-small", 0.75, 224, False, "weights_mobilenet_v3_small_224_0.75_float_no_top_v2.h5"),
        ("v3-large-minimalistic", 1.0, 224, True, "weights_mobilenet_v3_large_minimalistic_224_1.0_float.h5"),
    ],
)
def test_files_of_published_weights_are_called_as_keras_calls_them(
    family: str, alpha: float, resolution: int, has_classifier: bool, file: str
) -> None:
    published = families.get(family).imagenet
    assert published is not None
    assert published.file(alpha, resolution, has_classifier) == file


def test_a_family_without_rows_and_two_of_one_name_are_refused(toy: Path) -> None:
    with pytest.raises(ValueError, match="family v2 has no row"):
        replace(families.get("v2"), published=())
    (toy.parent / "twin.py").write_text(_TOY)
    invalidate_caches()
    families.by_name.cache_clear()
    with pytest.raises(ValueError, match="two families are called 'toy'; the second one is in twin"):
        families.names()


@pytest.mark.usefixtures("toy")
def test_a_new_family_is_listed_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row for row in _printed(capsys, "variants") if row["family"] == "toy"]
    assert [row["slug"] for row in rows] == ["toy_2.0_48", "toy_1.0_48"]
    variant = Variant("toy", 1.0, 48)
    counted = _printed(capsys, "cost", "--variant", "toy", "--resolution", "48")
    model = build_model(variant, "random")
    assert counted["parameters"] == rows[1]["parameters"] == model.count_params() == cost(variant).parameters
    assert counted["published"][0]["parameters_verdict"] == "agrees"
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}
    assert all(shapes[row["name"]] == tuple(row["output_shape"]) for row in counted["layers"][:-2])
    assert [candidate.name for candidate in candidates(3, families=["toy"], resolutions=[32])] == [
        "toy 1 32",
        "toy 2 32",
    ]
    compared = [
        row["name"]
        for benchmark in _printed(capsys, "cost", "--compare")["benchmarks"]
        for row in benchmark["networks"]
    ]
    assert {"Toy 1, 48 px", "Toy 2, 48 px"} <= set(compared)


@pytest.mark.usefixtures("toy")
def test_a_new_family_is_refused_by_what_it_declares() -> None:
    assert build_model(Variant("toy", 1.0, 8, 2), "random").output_shape == (1, 2)
    with pytest.raises(InputError, match="last map of toy has a stride of 8, so the smallest is 8; published are 48"):
        Variant("toy", 1.0, 7)
    with pytest.raises(InputError, match="ssdlite needs a last map with a stride of 32, and toy ends at 8"):
        Variant("toy", 1.0, 48, head="ssdlite")
    with pytest.raises(InputError, match="there are no ImageNet weights for toy; take --weights random or FILE"):
        build_model(Variant("toy", 1.0, 48), "imagenet")
    with pytest.raises(InputError, match="Known: toy, v1"):
        Variant("toys")


@pytest.mark.usefixtures("toy")
def test_weights_of_a_new_family_are_recognised_and_taken(tmp_path: Path) -> None:
    variant, file = Variant("toy", 1.0, 48, 5), tmp_path / "toy.weights.h5"
    trained = build_model(variant, "random", seed=7)
    trained.save_weights(file)
    assert classes_of(variant, file) == 5
    with pytest.raises(InputError, match=r"it holds toy with alpha 1\.0, with 5 classes"):
        classes_of(Variant("v2", 0.35, 48), file)
    maps = features(load_backbone(variant, file)).by_stride
    assert {stride: tuple(found.shape[1:3]) for stride, found in maps.items()} == sides_by_stride(variant)
    model, new_layers = transfer_model(replace(variant, classes=3), file)
    assert new_layers == {"predictions"}
    for layer in model.layers:
        if layer.weights and layer.name not in new_layers:
            for one, two in zip(layer.get_weights(), trained.get_layer(layer.name).get_weights(), strict=True):
                assert np.array_equal(one, two), layer.name


@pytest.mark.usefixtures("toy")
def test_a_search_does_not_wait_for_weights_that_a_family_does_not_have() -> None:
    trainer = TransferTrainer("classify", open_demo(), ("imagenet", "random"), Schedule())
    assert trainer.weights_of(Variant("toy", 1.0, 48, 3)) == "random"
    assert trainer.weights_of(Variant("v2", 1.0, 96, 3)) == "imagenet"


@pytest.mark.usefixtures("toy", "private_cache")
@pytest.mark.parametrize(
    "task", ["classify", *(pytest.param(name, marks=pytest.mark.slow) for name in ("segment", "embed"))]
)
def test_a_new_family_is_built_to_int8(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = ["--variant", "toy", "--resolution", "48", "--weights", "random", "--int8", "--effort", "fast"]
    more = {"segment": ["--data", str(_masks(tmp_path / "data"))]}.get(task, [])
    report = _printed(capsys, "build", "--task", task, *network, *more, "--out", str(tmp_path / "out"))
    slug = {"segment": "lr_aspp_toy_1.0_48", "embed": "embedding_toy_1.0_48"}.get(task, "toy_1.0_48")
    assert report["slug"] == slug
    assert {row["artifact"] for row in report["int8"]} == {f"{slug}.int8.tflite", f"{slug}.int8.onnx"}
    assert all(row["float_ops"] == 0 for row in report["int8"] if row["artifact"].endswith(".tflite"))
    assert report["variant"]["parameters"] > 0
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
