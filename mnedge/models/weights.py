"""Weights files: read, checked against the architecture, refused with a reason.

Four formats hold weights: the older HDF5 of Keras 2 and keras.applications (.h5), Keras 3's (.weights.h5), the .keras
archive, and PyTorch's .safetensors (see `mnedge.models.pytorch`). They are told apart by what is in them, not by their
names. Only arrays are read: no configuration is ever deserialized, a file whose configuration asks for code of its own
is refused, stricter than Keras' safe mode, and so is a pickle.
"""

from __future__ import annotations

import io
import json
import logging
import shlex
import shutil
import tempfile
import zipfile
import zlib
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import InputError, last_line
from mnedge.files import write_bytes
from mnedge.foreign import is_file
from mnedge.formats.archive import read_member
from mnedge.formats.hdf5 import CONFIG_BYTES, MOST_BYTES, check_hdf5
from mnedge.models import families, pytorch
from mnedge.models.variant import Variant, family_of, trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    import h5py
    import keras

    from mnedge.models.network import Layer
    from mnedge.untyped import Json

    Kernels = Counter[tuple[int, ...]]

IMAGENET_CLASSES = 1000

_ALLOWED = "allowed are the .h5, .weights.h5 and .keras files of a Keras MobileNet, and PyTorch's .safetensors"
_HARMLESS_MODULES = (
    "builtins", "keras", "keras.activations", "keras.constraints", "keras.dtype_policies", "keras.initializers",
    "keras.layers", "keras.losses", "keras.metrics", "keras.models", "keras.optimizers", "keras.optimizers.schedules",
    "keras.regularizers",
)  # fmt: skip
_HARMLESS_FOLDERS = ("keras.src.models.", "keras.src.ops.")
_CODE_RUNNERS = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_MODELS = ("Functional", "Sequential", "Model")
_ARRAYS = "model.weights.h5"
_LOG = logging.getLogger(__name__)
# Exceptions of h5py, zipfile, json and Keras on damaged bytes; HDF5 reports most damage as a RuntimeError.
# RuntimeError covers RecursionError.
_DAMAGE = (
    OSError, KeyError, IndexError, RuntimeError, TypeError, ValueError, AttributeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def check(variant: Variant, path: Path) -> None:
    """Makes sure that a file holds a classifier of `variant`, before anything is built.

    Raises:
        InputError: The file is missing, broken, or holds another architecture or class count.
    """
    classes = classes_in(variant, path)
    if classes is None:
        raise InputError(
            f"{path} holds {variant.family} without its classifier (no_top), and classifying needs one; "
            "take the file with top, or train a classifier on it first"
        )
    if classes != variant.classes:
        raise InputError(
            f"{path} tells {classes} classes apart, asked for are {variant.classes}; "
            f"leave --classes out or give --classes {classes}"
        )


def check_kernels(model: keras.Model, name: str, path: Path) -> None:
    """Makes sure that a file holds as many kernels of the same shapes as a model, whatever they are called.

    Raises:
        InputError: The file is missing, broken, or holds another architecture.
    """
    if pytorch.is_pytorch(path):
        raise InputError(
            f"{path} is a classifier's and holds no other head; train one on it with `mnedge train --weights "
            f"{shlex.quote(str(path))}`"
        )
    wanted: Kernels = Counter(tuple(weight.shape) for weight in model.weights if len(weight.shape) > 1)
    with _opened(path) as file:
        found = _kernels(file)
    if found != wanted:
        _refuse_foreign(found, path)
        raise InputError(
            f"{path} does not hold {name}: {_describe(found)}, where {wanted.total()} of certain shapes are needed; "
            "name the variant, head, classes and output stride that the file was trained with, or give another file"
        )


def load(model: keras.Model, variant: Variant, path: Path) -> None:
    """Fills a model with the weights of a file that has been found to hold its architecture.

    Args:
        model: With or without classifier, as the file is.
        variant: Variant of the model.
        path: The file.

    Raises:
        InputError: The file is broken, or its arrays do not fit after all.
    """
    if pytorch.is_pytorch(path):
        pytorch.load(model, variant, path)
        return
    with _opened(path) as file:
        _fill(model, file, path)


def classes_in(variant: Variant, path: Path) -> int | None:
    """Returns the number of classes of a file of this family and width; None for a file without classifier.

    Raises:
        InputError: The file is missing, broken, or holds another architecture.
    """
    if pytorch.is_pytorch(path):
        return pytorch.classes_in(variant, path)
    with _opened(path) as file:
        return _classes(_kernels(file), variant, path)


def save_compact(model: keras.Model, path: Path) -> None:
    """Writes a model's weights in the older HDF5 layout, with kernels in float16: half the size, and `load` takes it.

    Vectors stay float32: variances of batch norms can be too small for float16. The same weights give the same bytes.

    Raises:
        OSError: The file cannot be written.
    """
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        layers = [layer for layer in model.layers if layer.weights]
        file.attrs["layer_names"] = [layer.name for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [f"{layer.name}/{weight.name}" for weight in layer.weights]
            for weight in layer.weights:
                values = weight.numpy()
                dtype = np.float16 if values.ndim > 1 else np.float32
                group.create_dataset(f"{layer.name}/{weight.name}", data=values.astype(dtype))
    write_bytes(path, buffer.getvalue())


def load_imagenet(model: keras.Model, variant: Variant, *, include_top: bool = True) -> None:
    """Fills a network with the published ImageNet weights of its family.

    Weights do not depend on the resolution; the file trained at the nearest published one is taken.

    Args:
        model: The network, with or without its classifier.
        variant: Variant of the model; without classifier, its classes do not matter.
        include_top: Whether it has its classifier.

    Raises:
        InputError: None are published for this family, width or class count, or they cannot be had.
    """
    family = family_of(variant)
    if family.imagenet is None:
        raise InputError(
            f"there are no ImageNet weights for {variant.family}; take --weights random or FILE, or one of "
            f"{', '.join(name for name, other in families.by_name().items() if other.imagenet)}"
        )
    if variant.alpha not in family.imagenet_alphas:
        widths = ", ".join(str(alpha) for alpha in family.imagenet_alphas)
        raise InputError(
            f"there are no ImageNet weights for {variant.family} with alpha {variant.alpha}, only for {widths}; "
            "take one of these, or --weights random or FILE"
        )
    if include_top and variant.classes != IMAGENET_CLASSES:
        raise InputError(
            f"ImageNet weights tell {IMAGENET_CLASSES} classes apart, asked for are {variant.classes}; "
            "leave --classes out, or train a classifier on them first"
        )
    sizes = {row.resolution for row in family.published if row.alpha == variant.alpha}
    resolution = min(sizes, key=lambda size: abs(size - variant.resolution))
    name = family.imagenet.file(variant.alpha, resolution, include_top)
    if resolution != variant.resolution:
        _LOG.warning("%s was trained at %d px, the nearest to %d", name, resolution, variant.resolution)
    model.set_weights(family.imagenet.load(name, variant.alpha, resolution, include_top))


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Opens the arrays of a weights file, whatever its format, once it has been found harmless."""
    import h5py

    if not is_file(path):
        raise InputError(f"weights file {path} does not exist or is not a file; {_ALLOWED}")
    with path.open("rb") as stream:
        magic = stream.read(8)
    if not magic:
        raise InputError(f"weights file {path} is empty; {_ALLOWED}")
    if _is_pickle(path, magic):
        raise InputError(
            f"{path} is a pickle of PyTorch, which can run code, and is never loaded. Where torch is installed: from "
            "safetensors.torch import save_file; "
            f"save_file(torch.load({path.name!r}, weights_only=True), {path.stem + '.safetensors'!r})"
        )
    try:
        if magic.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as scratch:
                config = json.loads(read_member(archive, "config.json", CONFIG_BYTES, str(path)))
                _refuse_code(config, path)
                _refuse_nested(config, path)
                arrays = Path(scratch) / _ARRAYS
                arrays.write_bytes(read_member(archive, _ARRAYS, MOST_BYTES, str(path)))
                with h5py.File(arrays) as file:
                    check_hdf5(file, str(path))
                    yield file
            return
        if magic != b"\x89HDF\r\n\x1a\n":
            raise InputError(f"{path} is not a weights file, it begins with {magic!r}; {_ALLOWED}")
        with h5py.File(path) as file:
            check_hdf5(file, str(path))
            if "model_config" in file.attrs:
                config = json.loads(file.attrs["model_config"])
                _refuse_code(config, path)
                _refuse_nested(config, path)
            yield file
    except _DAMAGE as exc:
        raise InputError(
            f"weights file {path} is cut short or broken: {last_line(exc)}; fetch or save it again"
        ) from exc


def _refuse_code(config: Json, path: Path) -> None:
    """Walks a configuration and refuses what would bring code of its own."""
    if isinstance(config, dict):
        name, module = config.get("class_name"), config.get("module")
        harmless = module is None or module in _HARMLESS_MODULES or str(module).startswith(_HARMLESS_FOLDERS)
        if name is not None and (name in _CODE_RUNNERS or not harmless):
            raise InputError(
                f"{path} wants to run code of its own ({module or 'layer'} {name}), which is refused; "
                "save only the weights with model.save_weights('NAME.weights.h5')"
            )
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            _refuse_code(value, path)


def _refuse_nested(config: Json, path: Path) -> None:
    """Refuses a model with another model as a layer, whose arrays lie where those of a MobileNet do not."""
    inside = config.get("config") if isinstance(config, dict) else None
    layers = inside.get("layers") if isinstance(inside, dict) else None
    if isinstance(layers, list) and any(
        isinstance(layer, dict) and layer.get("class_name") in _MODELS for layer in layers
    ):
        raise _whole_model(path)


def _refuse_foreign(kernels: Kernels, path: Path) -> None:
    """Refuses a whole model whose kernels are those of no MobileNet at all: it is a network, and weights of none."""
    if _is_whole(path) and _published(kernels) is None:
        raise _whole_model(path)


def _is_whole(path: Path) -> bool:
    """Returns whether a file, which `_opened` has read, holds the network beside its weights."""
    import h5py

    if zipfile.is_zipfile(path):
        return True
    with h5py.File(path) as file:
        return "model_config" in file.attrs


def _whole_model(path: Path) -> InputError:
    return InputError(
        f"{path} is a whole Keras model, not the weights of a MobileNet; give it as the model: "
        f"`mnedge build {shlex.quote(str(path))} --data DIR --int8`"
    )


def _is_pickle(path: Path, magic: bytes) -> bool:
    """Whether a file is one of `torch.save`: a ZIP with a data.pkl, or before PyTorch 1.6 a bare pickle."""
    if not magic.startswith(b"PK"):
        return magic[:1] == b"\x80" and b"\x02" <= magic[1:2] <= b"\x05"
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") or name == "data.pkl" for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _is_legacy(file: h5py.File) -> bool:
    return "layer_names" in file.attrs or "model_weights" in file


def _kernels(file: h5py.File) -> Kernels:
    """Counts the shapes of all kernels in a file; vectors (bias, batch norm) are left out."""
    import h5py

    found: Kernels = Counter()

    def count(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and len(item.shape) > 1 and "optimizer" not in name:
            found[tuple(item.shape)] += 1

    file.visititems(count)
    return found


def has_hidden_head(variant: Variant) -> bool:
    """Returns whether a layer with weights stands between the last pooling and the classifier, as in V3."""
    return any(layer.kernel_shape for layer in _head(trace(variant))[:-1])


def _head(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The layers behind the last pooling, the classifier last."""
    return layers[1 + max(place for place, layer in enumerate(layers) if layer.kind == "pool") :]


def _split(variant: Variant) -> tuple[Kernels, Kernels]:
    """Counts the kernel shapes of a variant: (backbone, head without the classifier itself)."""
    layers = trace(variant)
    head = _head(layers)
    body = layers[: len(layers) - len(head)]
    return (
        Counter(layer.kernel_shape for layer in body if layer.kernel_shape),
        Counter(layer.kernel_shape for layer in head[:-1]),
    )


def _match(kernels: Kernels, variant: Variant) -> tuple[bool, int | None]:
    """Returns whether the kernels are those of a variant, and the number of classes; None without classifier."""
    body, head = _split(variant)
    if kernels == body:
        return True, None
    rest = kernels - (body + head)
    is_whole = (body + head) - kernels == Counter() and rest.total() == 1
    classifier = trace(variant)[-1].kernel_shape
    if is_whole and next(iter(rest))[:-1] == classifier[:-1]:
        return True, next(iter(rest))[-1]
    return False, None


def _classes(kernels: Kernels, variant: Variant, path: Path) -> int | None:
    fits, classes = _match(kernels, variant)
    if fits:
        return classes
    _refuse_foreign(kernels, path)
    raise InputError(
        f"{path} does not hold {variant.family} with alpha {variant.alpha}: {_describe(kernels)}; "
        "name the variant that the file is of, or give another file"
    )


def _describe(kernels: Kernels) -> str:
    """Names the published network that the kernels of a file belong to, if any."""
    published = _published(kernels)
    if published is None:
        return f"its {kernels.total()} kernels are those of no published MobileNet"
    family, alpha, classes = published
    ending = f"with {classes} classes" if classes else "without classifier (no_top)"
    return f"it holds {family} with alpha {alpha}, {ending}"


def _published(kernels: Kernels) -> tuple[str, float, int | None] | None:
    """Family, alpha and classes of the published network that kernels are of; None where they are of none."""
    for family in families.by_name().values():
        for alpha in family.alphas:
            fits, classes = _match(kernels, Variant(family.name, alpha))
            if fits:
                return family.name, alpha, classes
    return None


def _fill(model: keras.Model, file: h5py.File, path: Path) -> None:
    # Keras tells the formats apart by the name, so the file gets the one that its content asks for.
    with tempfile.TemporaryDirectory() as scratch:
        named = Path(scratch) / ("legacy.h5" if _is_legacy(file) else _ARRAYS)
        shutil.copyfile(file.filename, named)
        try:
            model.load_weights(named)
        except _DAMAGE as exc:
            raise InputError(f"the weights of {path} do not fit {model.name}: {last_line(exc)}; {_ALLOWED}") from exc
    for weight in model.weights:
        if not np.isfinite(weight.numpy()).all():
            raise InputError(f"{path} holds values that are not numbers (in {weight.path}); train or fetch it again")
