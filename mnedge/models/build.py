"""Builds the Keras model of a variant and fills it with weights.

Every model takes float32 of shape (1, H, W, 3), NHWC, RGB, in [-1, 1] (a pixel p of 0..255 is p / 127.5 - 1). A
classifier gives the softmax of its classes, float32 of shape (1, classes); what another head gives stands in its file.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from mnedge.errors import InputError
from mnedge.foreign import is_file
from mnedge.models import heads, pytorch
from mnedge.models import weights as weight_files
from mnedge.models.description import Weights, description_of
from mnedge.models.variant import CLASSIFIER, Variant, classifier_of, family_of

if TYPE_CHECKING:
    import keras

    from mnedge.untyped import JsonObject

DEMO_CLASSES = 10


def build_model(variant: Variant, weights: Weights, seed: int = 0, style: pytorch.Style | None = None) -> keras.Model:
    """Builds a network with its head.

    Args:
        variant: Variant to build.
        weights: "demo" (the packaged checkpoint), "imagenet" (the published weights), "random", or a file; with
            another head than a classifier, "random" or a file.
        seed: For random weights.
        style: For random weights that others replace; a file says its own.

    Returns:
        A model that takes float32 (1, H, W, 3) in [-1, 1]; a classifier gives float32 (1, classes), softmax.

    Raises:
        InputError: The weights are missing, broken, or of another architecture or class count.
    """
    if variant.head != CLASSIFIER:
        return _build_with_head(variant, weights, seed)
    file = _demo_file(variant) if weights == "demo" else weights
    if isinstance(file, Path):
        weight_files.check(variant, file)
        model = _architecture(variant, style_of(file))
        weight_files.load(model, variant, file)
    elif file == "imagenet":
        model = _architecture(variant)
        weight_files.load_imagenet(model, variant)
    else:
        model = _architecture(variant, style)
        _fill_randomly(model, seed)
    return model


def named_weights(text: str, words: tuple[str, ...]) -> Weights:
    """The weights that a user names.

    Args:
        text: One of the words, `timm:NAME` or a file.
        words: Those of demo, imagenet and random that are taken.

    Raises:
        InputError: There is no such file.
    """
    if text in words:
        return cast("Weights", text)
    path = pytorch.hub_file(text.removeprefix(pytorch.HUB)) if text.startswith(pytorch.HUB) else Path(text)
    if not is_file(path):
        raise InputError(
            f"no weights file {path}; --weights takes {', '.join(words)}, {pytorch.HUB}NAME, or a file that exists"
        )
    return path


def style_of(weights: Weights) -> pytorch.Style | None:
    """Differences of a network from Keras' own, for its weights; None for weights that were trained in Keras.

    Raises:
        InputError: The file, or what stands beside it, is damaged.
    """
    if not isinstance(weights, Path):
        return None
    if pytorch.is_pytorch(weights):
        return pytorch.style_of_file(weights)
    told = description_of(weights).get("pytorch")
    return None if told is None else pytorch.Style.from_json(told)


def style_key(weights: Weights) -> JsonObject | None:
    """`style_of` as JSON values, for keys and descriptions."""
    style = style_of(weights)
    return None if style is None else style.to_json()


def _build_with_head(variant: Variant, weights: Weights, seed: int) -> keras.Model:
    if weights in ("demo", "imagenet"):
        raise InputError(
            f"the {weights} weights are a classifier's and hold no {variant.head} head; train one with "
            f"`mnedge train`, or take --weights random"
        )
    backbone = _architecture(classifier_of(variant), style_of(weights), include_top=False)
    model = add_head(backbone, variant)
    if isinstance(weights, Path):
        weight_files.check_kernels(model, variant.slug, weights)
        weight_files.load(model, variant, weights)
    else:
        _fill_randomly(model, seed)
    return model


def add_head(backbone: keras.Model, variant: Variant) -> keras.Model:
    """Puts a variant's head on a backbone without classifier, and gives the whole, which has the backbone's weights.

    Args:
        backbone: As `load_backbone` returns it.
        variant: Its `head` is not "classifier".
    """
    import keras

    from mnedge.models.features import features, with_output_stride

    maps = features(with_output_stride(backbone, variant.output_stride or family_of(variant).stride))
    outputs = heads.get(variant.head).build(maps, variant.classes, variant.alpha)
    return keras.Model(maps.image, list(outputs.values()), name=variant.slug)


def load_backbone(variant: Variant, weights: Weights, seed: int = 0) -> keras.Model:
    """Builds a network without its classifier: what another head stands on.

    Args:
        variant: Variant to build; its classes do not matter.
        weights: As for `build_model`; a file may be with or without a classifier.
        seed: For random weights.

    Returns:
        A model that takes float32 (1, H, W, 3) in [-1, 1] and gives the last feature map, float32
        (1, H / stride, W / stride, channels).

    Raises:
        InputError: The weights are missing, broken, or of another architecture.
    """
    variant = classifier_of(variant)
    classes = classes_of(variant, weights)
    backbone = _architecture(variant, style_of(weights), include_top=False)
    if isinstance(weights, Path) and classes is None:
        weight_files.load(backbone, variant, weights)
        return backbone
    if weights == "imagenet":
        weight_files.load_imagenet(backbone, variant, include_top=False)
        return backbone
    classifier = build_model(replace(variant, classes=classes or variant.classes), weights, seed)
    trained = {layer.name: layer for layer in classifier.layers}
    for layer in backbone.layers:
        if layer.weights:
            layer.set_weights(trained[layer.name].get_weights())
    return backbone


def classes_of(variant: Variant, weights: Weights) -> int | None:
    """Returns the number of classes of some weights; None for random ones and a file without classifier.

    Args:
        variant: Network of the weights; its classes do not matter.
        weights: As for `build_model`.

    Raises:
        InputError: The file is missing, broken, or holds another architecture.
    """
    if isinstance(weights, Path):
        return weight_files.classes_in(variant, weights)
    return {"demo": DEMO_CLASSES, "imagenet": weight_files.IMAGENET_CLASSES}.get(weights)


def packaged_demo(variant: Variant) -> Path | None:
    """The checkpoint of a variant that comes with the package, or None where it is trained on first use."""
    name = family_of(variant).demos.get((variant.alpha, variant.resolution))
    return Path(__file__).with_name(name) if name and variant.classes == DEMO_CLASSES else None


def _demo_file(variant: Variant) -> Path:
    checkpoint = packaged_demo(variant)
    if checkpoint is None:
        raise InputError(
            f"there is no packaged demo checkpoint of {variant.slug} with {variant.classes} classes; "
            "train one first, or give --weights FILE"
        )
    return checkpoint


def _architecture(variant: Variant, style: pytorch.Style | None = None, *, include_top: bool = True) -> keras.Model:
    import keras

    # Keras numbers unnamed layers over the life of the process; artifacts must not depend on what was built before.
    keras.utils.clear_session(free_memory=False)
    side = variant.resolution
    # A batch of one keeps SHAPE, STRIDED_SLICE and PACK out of the converted graph.
    image = keras.Input(batch_shape=(1, side, side, 3), name="image")
    output = family_of(variant).build(image, variant.alpha, variant.classes if include_top else None)
    model = keras.Model(image, output, name=variant.slug)
    return model if style is None else pytorch.restyled(model, style)


def _fill_randomly(model: keras.Model, seed: int) -> None:
    """Draws kernels so that activations keep their variance (https://arxiv.org/abs/1502.01852, eq. 10).

    The generator is NumPy's, so the weights do not depend on the version of Keras.
    """
    generator = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        if weight.path.endswith("kernel"):
            # Keras lays a depthwise kernel out as (height, width, channels, 1): each channel sees one input channel.
            is_depthwise = len(weight.shape) == 4 and weight.shape[-1] == 1
            fan_in = math.prod(weight.shape[:2] if is_depthwise else weight.shape[:-1])
            weight.assign(generator.normal(0, math.sqrt(2 / fan_in), weight.shape).astype(np.float32))
        elif weight.path.endswith(("beta", "bias")):
            weight.assign(generator.normal(0, 0.1, weight.shape).astype(np.float32))
