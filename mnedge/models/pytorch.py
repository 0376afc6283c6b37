"""Weights of PyTorch in Keras' networks: .safetensors with the names that timm or torchvision give the layers.

PyTorch's networks compute otherwise than Keras' in three places, and the network is built so that it agrees with them:

- A convolution of stride 2 pads both sides alike, where Keras pads the far side only (`Style.symmetric`).
- Batch norm has another epsilon; gamma takes the difference when weights are loaded, which is exact.
- Pixels are prepared by mean and deviation; a first layer brings them there from -1..1.

Gains behind a projection (timm's layer scale, https://arxiv.org/abs/2103.17239, section 2) go into its weights.
"""

from __future__ import annotations

import glob
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from mnedge.errors import InputError
from mnedge.foreign import is_file, parse_json, read_file
from mnedge.formats.safetensors import is_safetensors, read_safetensors
from mnedge.models import families
from mnedge.models.variant import Variant, family_of, trace
from mnedge.pixels import Pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras
    from numpy.typing import NDArray

    from mnedge.models.families._pytorch import Names, PyTorch
    from mnedge.models.network import Layer
    from mnedge.untyped import JsonObject

    Arrays = dict[str, NDArray[np.generic]]

HUB = "timm:"

_LOG = logging.getLogger(__name__)
_IMAGENET = Pixels.parse("imagenet")
_CONFIG, _CONFIG_BYTES = "config.json", 1 << 20
_MODEL = "model.safetensors"
_NORM = ("weight", "bias", "running_mean", "running_var")
# What a batch norm counts while it learns.
_COUNTER = "num_batches_tracked"
# Epsilon of the networks that timm took over from TensorFlow.
_TENSORFLOW_EPSILON = 1e-3


@dataclass(frozen=True)
class Style:
    """Differences of a network with weights of PyTorch from Keras' own.

    Attributes:
        symmetric: Convolutions with a stride pad both sides alike.
        pixels: Pixels of a picture at the first convolution.
    """

    symmetric: bool
    pixels: Pixels

    def to_json(self) -> JsonObject:
        """The style as JSON values, for a .keras."""
        return {"symmetric": self.symmetric, "pixels": self.pixels.to_bytes().decode()}

    @classmethod
    def from_json(cls, told: object) -> Style:
        """Reads what `to_json` wrote.

        Raises:
            TypeError: It did not write this.
        """
        if not isinstance(told, dict) or not isinstance(told.get("symmetric"), bool):
            raise TypeError(f"pytorch is {told!r}")
        return cls(told["symmetric"], Pixels.from_bytes(str(told.get("pixels")).encode()))


@dataclass(frozen=True)
class _Config:
    """Content of the config.json beside the weights; timm's hub has one beside every file."""

    pixels: Pixels
    side: int | None
    is_tensorflow: bool


@dataclass(frozen=True, eq=False)
class _Match:
    """Names of a file's arrays, and the number of classes; None without classifier."""

    library: PyTorch
    names: tuple[Names, ...]
    classes: int | None


def is_pytorch(path: Path) -> bool:
    """Returns whether a file is a .safetensors, by its content."""
    if not is_file(path):
        return False
    with path.open("rb") as stream:
        return is_safetensors(stream.read(16))


def style_of_file(path: Path) -> Style:
    """The style of the network that the weights in a .safetensors were trained in.

    Raises:
        InputError: The config.json beside it is damaged.
    """
    config = _config(path)
    return (
        Style(symmetric=True, pixels=_IMAGENET)
        if config is None
        else Style(symmetric=not config.is_tensorflow, pixels=config.pixels)
    )


def resolution_of(path: Path) -> int | None:
    """Side of the pictures, in pixels, that the weights were trained on; None where no config.json says it."""
    config = _config(path) if is_pytorch(path) else None
    return None if config is None else config.side


def hub_file(name: str) -> Path:
    """The weights of `timm:NAME` in the cache of Hugging Face's hub.

    Args:
        name: As on the hub, e.g. "mobilenetv4_conv_small.e2400_r224_in1k"; without its tag if only one is there.

    Raises:
        InputError: It is not there, or several are; the message says where to put it.
    """
    # `os.path.expanduser`, since that of `Path` fails for a user without a home, as in a container.
    home = Path(os.path.expanduser(os.environ.get("HF_HOME") or "~/.cache/huggingface"))  # noqa: PTH111
    hub = Path(os.path.expanduser(os.environ.get("HF_HUB_CACHE") or home / "hub"))  # noqa: PTH111
    folder = hub / f"models--timm--{name}"
    found = [folder] if folder.is_dir() else sorted(hub.glob(f"{glob.escape(folder.name)}.*"))
    files = [file for place in found if (file := _snapshot(place)) is not None]
    if len(files) == 1:
        return files[0]
    if files:
        tags = ", ".join(f"{HUB}{place.name.removeprefix('models--timm--')}" for place in found)
        raise InputError(f"{HUB}{name} is the name of several networks in {hub}: {tags}; give one of these")
    raise InputError(
        f"{HUB}{name} is not in the hub's cache; put {_MODEL} and {_CONFIG} of timm/{name} into "
        f"{folder / 'snapshots' / 'main'}, or give --weights FILE.safetensors"
    )


def _snapshot(folder: Path) -> Path | None:
    """The weights in a model's folder of the hub's cache: of the main branch, or the newest."""
    main = folder / "refs" / "main"
    if is_file(main):
        named = folder / "snapshots" / read_file(main, 100).decode("ascii", "replace").strip() / _MODEL
        if is_file(named):
            return named
    files = [path for path in folder.glob(f"snapshots/*/{_MODEL}") if is_file(path)]
    return max(files, key=lambda path: (path.stat().st_mtime, path), default=None)


def classes_in(variant: Variant, path: Path) -> int | None:
    """Number of classes of a .safetensors of this family and width; None for one without classifier.

    Raises:
        InputError: The file is missing, broken, or holds another architecture.
    """
    return _matched(variant, path, read_safetensors(path)).classes


def load(model: keras.Model, variant: Variant, path: Path) -> None:
    """Fills a network, with or without classifier, with the weights of a .safetensors of its architecture.

    Raises:
        InputError: The file is missing, broken, or holds another architecture.
    """
    arrays = read_safetensors(path)
    match, config = _matched(variant, path, arrays), _config(path)
    if config is None and match.library.library == "timm":
        said = "there is no %s beside %s that says how pictures are prepared: ImageNet's mean and deviation are taken"
        _LOG.warning(said, _CONFIG, path)
    epsilon = _TENSORFLOW_EPSILON if config is not None and config.is_tensorflow else match.library.epsilon
    layers = {layer.name: layer for layer in model.layers}
    norms = _norms(model)
    for layer, kernel, norm, gain in match.names:
        if layer.name not in layers:
            continue
        target = layers[layer.name]
        gains = _real(arrays, gain, path) if gain else np.float32(1)
        if kernel:
            weights = [_kernel(_real(arrays, f"{kernel}.weight", path), layer) * (1 if norm else gains)]
            weights += [_real(arrays, f"{kernel}.bias", path)] if layer.bias else []
            target.set_weights([value.reshape(own.shape) for value, own in zip(weights, target.weights, strict=True)])
        if norm:
            gamma, beta, mean, variance = (_real(arrays, f"{norm}.{part}", path) for part in _NORM)
            if np.any(variance < 0):
                raise InputError(f"{path}: {norm}.running_var has values below 0; save or fetch the file again")
            own = norms[layer.name] if kernel else cast("keras.layers.BatchNormalization", target)
            scale = np.sqrt((variance + own.epsilon) / (variance + epsilon))
            own.set_weights([gamma * scale * gains, beta * gains, mean, variance])


def restyled(model: keras.Model, style: Style) -> keras.Model:
    """Copies a network so that it pads and prepares pixels as PyTorch's does; it still takes -1..1.

    The layers that are added have no weights.

    Raises:
        InputError: The network halves an odd side of its input otherwise.
    """
    import keras

    first = _reader(model.inputs[0])
    # What comes in is p / 127.5 - 1.
    scale = 127.5 * np.asarray(style.pixels.scale)
    offset = scale + np.asarray(style.pixels.offset)
    strided = {layer.name: _side(layer) for layer in model.layers if style.symmetric and _is_strided(layer)}
    kernels = {
        _maker(layer.input).name: strided[layer.name]
        for layer in model.layers
        if layer.name in strided and isinstance(_maker(layer.input), keras.layers.ZeroPadding2D)
    }

    def changed(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if layer.name in kernels:
            config["padding"] = kernels[layer.name] // 2
        if layer.name in strided:
            config["padding"] = "valid"
        return layer.__class__.from_config(config)

    def called(layer: keras.Layer, *inputs: keras.KerasTensor, **arguments: object) -> keras.KerasTensor:
        source, *rest = inputs
        if layer.name == first and not (np.allclose(scale, 1) and np.allclose(offset, 0)):
            source = keras.layers.Rescaling(scale.tolist(), offset.tolist(), name="pixels")(source)
        if layer.name in strided and not isinstance(_maker(source), keras.layers.ZeroPadding2D):
            source = keras.layers.ZeroPadding2D(strided[layer.name] // 2, name=f"{layer.name}_pad")(source)
        return layer(source, *rest, **arguments)

    image = keras.Input(batch_shape=model.inputs[0].shape, name=model.inputs[0].name)
    copy = keras.models.clone_model(model, input_tensors=image, clone_function=changed, call_function=called)
    if [tensor.shape for tensor in copy.outputs] != [tensor.shape for tensor in model.outputs]:
        side = int(model.inputs[0].shape[1])
        raise InputError(
            f"{model.name} with PyTorch's padding has another map at {side} px than with Keras'; give a --resolution "
            "that is a multiple of 32"
        )
    return copy


def _reader(image: keras.KerasTensor) -> str:
    """Name of the layer that reads the network's input."""
    return str(_maker(image)._outbound_nodes[0].operation.name)  # noqa: SLF001 - Keras' own record of who reads it


def _maker(tensor: keras.KerasTensor) -> keras.Operation:
    return tensor._keras_history.operation  # noqa: SLF001 - Keras' own record of what made a tensor


def _is_strided(layer: keras.Layer) -> bool:
    import keras

    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    return isinstance(layer, kinds) and max(np.atleast_1d(layer.strides)) > 1


def _side(layer: keras.Layer) -> int:
    return int(np.atleast_1d(layer.kernel_size)[0])


def _norms(model: keras.Model) -> dict[str, keras.layers.BatchNormalization]:
    """The batch norms by the name of the layer that they stand behind."""
    import keras

    norms = (layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
    return {_maker(layer.input).name: layer for layer in norms}


def _kernel(values: NDArray[np.float32], layer: Layer) -> NDArray[np.float32]:
    """A kernel in Keras' layout: OIHW to HWIO, C1HW to HWC1, (out, in) to (in, out)."""
    if values.ndim == 2:
        turned = values.T
    elif layer.kind == "depthwise":
        turned = values.transpose(2, 3, 0, 1)
    else:
        turned = values.transpose(2, 3, 1, 0)
    return turned.reshape(layer.kernel_shape)


def _real(arrays: Arrays, name: str, path: Path) -> NDArray[np.float32]:
    values = arrays[name].astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{path} holds values that are not numbers (in {name}); train or fetch it again")
    return values


def _matched(variant: Variant, path: Path, arrays: Arrays) -> _Match:
    """Names that a file gives the layers of a variant.

    Raises:
        InputError: It holds another network; the message says which.
    """
    found = _match(arrays, variant)
    if found is not None:
        return found
    known = sorted({library.library for library in family_of(variant).pytorch})
    if not known:
        raise InputError(f"no library of PyTorch has {variant.family}; give a .h5 or .keras, or another --variant")
    raise InputError(
        f"{path} does not hold {variant.family} with alpha {variant.alpha} as {' or '.join(known)} names its layers: "
        f"{_description(arrays)}; name the variant that the file is of, or give another file"
    )


def _description(arrays: Arrays) -> str:
    for family in families.by_name().values():
        for alpha in family.alphas:
            found = _match(arrays, Variant(family.name, alpha))
            if found is not None:
                classes = "without classifier" if found.classes is None else f"with {found.classes} classes"
                return f"it holds {family.name} with alpha {alpha} of {found.library.library}, {classes}"
    first = ", ".join(list(arrays)[:3])
    return f"its {len(arrays)} arrays ({first[:120]}, …) are those of no published MobileNet"


def _match(arrays: Arrays, variant: Variant) -> _Match | None:
    layers = [layer for layer in trace(variant) if layer.kernel_shape or layer.batch_norm]
    stored = {name: values.shape for name, values in arrays.items() if not name.endswith(_COUNTER)}
    for library in family_of(variant).pytorch:
        names = tuple(library.names(layers))
        classifier = f"{names[-1].kernel}.weight"
        has_classifier = classifier in stored
        classes = int(stored[classifier][0]) if has_classifier and stored[classifier] else None
        wanted = _shapes(names if has_classifier else names[:-1], classes)
        if wanted.keys() == stored.keys() and all(stored[name] in shapes for name, shapes in wanted.items()):
            return _Match(library, names, classes)
    return None


def _shapes(names: Sequence[Names], classes: int | None) -> dict[str, tuple[tuple[int, ...], ...]]:
    """The shapes that each array may have, in PyTorch's layout; the last layer's width is that of the classes."""
    found: dict[str, tuple[tuple[int, ...], ...]] = {}
    for place, (layer, kernel, norm, gain) in enumerate(names):
        inputs = 1 if layer.kind == "depthwise" else layer.input_shape[2]
        outputs = classes if classes is not None and place == len(names) - 1 else layer.output_shape[2]
        whole = (outputs, inputs, layer.kernel, layer.kernel)
        if kernel:
            # A 1 x 1 convolution of pooled values is a matrix product to some.
            found[f"{kernel}.weight"] = (whole, whole[:2]) if layer.kernel == 1 else (whole,)
        if layer.bias:
            found[f"{kernel}.bias"] = ((outputs,),)
        if norm:
            found |= {f"{norm}.{part}": ((outputs,),) for part in _NORM}
        if gain:
            found[gain] = ((outputs,),)
    return found


def _config(path: Path) -> _Config | None:
    """Reads the config.json beside a file; None without one, or for one of something else."""
    file = path.with_name(_CONFIG)
    if not is_file(file):
        return None
    try:
        told = parse_json(read_file(file, _CONFIG_BYTES))
        details = told.get("pretrained_cfg", told) if isinstance(told, dict) else None
        if not isinstance(told, dict) or not isinstance(details, dict) or "mean" not in details:
            return None
        mean, std = (tuple(255 * float(value) for value in details[key]) for key in ("mean", "std"))
        size = details.get("input_size")
        side = size[-1] if isinstance(size, list) and size and type(size[-1]) is int and size[-1] > 0 else None
        return _Config(Pixels.normalized(mean, std), side, str(told.get("architecture", "")).startswith("tf_"))
    except (ValueError, TypeError, KeyError, InputError) as exc:
        raise InputError(f"{file} is damaged ({exc}); fetch it again, or take it away for ImageNet's pixels") from exc
