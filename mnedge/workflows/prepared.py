"""Preprocessing and task of a model, from the build or bundle that its file lies in."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec reads the types of fields
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mnedge.choices import DEFAULT_TASK
from mnedge.data.listed import PREPROCESSING, preprocessing_of
from mnedge.data.preprocess import WHITE, Preprocessing
from mnedge.errors import InputError
from mnedge.files import sha256
from mnedge.foreign import Setting, is_file, parse_json
from mnedge.formats.carried import carried
from mnedge.results.manifest import BuildManifest
from mnedge.results.stored import read

if TYPE_CHECKING:
    from pathlib import Path

_BUILD, _BUNDLE = "manifest.json", "model.json"
# Under this name the .onnx of a bundle carries it.
_METADATA = "preprocessing"
_CROP = "crop_fraction"


@dataclass(frozen=True)
class Prepared:
    """Facts about a model besides its network.

    Attributes:
        preprocessing: Preprocessing of its pictures; None if it is unknown.
        task: Name of its task; "" if it is unknown.
    """

    preprocessing: Preprocessing | None = None
    task: str = ""


@dataclass(frozen=True)
class _BundledAbout:
    """The part of a bundle's model.json that says how pictures are prepared, and for which models."""

    FILE: ClassVar[str] = "model.json of a bundle"

    models: Mapping[str, object]
    crop_fraction: object
    interpolation: object
    fit: object = "crop"
    white: object = WHITE


def prepared(model: Path) -> Prepared:
    """Looks into the manifest.json of the model's build, the model.json of its bundle, and its own metadata.

    A manifest.json counts where it lists this very file, by its checksum.

    Raises:
        InputError: The manifest there, or the file's metadata, is damaged.
    """
    build, bundle = (model.absolute().parent / name for name in (_BUILD, _BUNDLE))
    if is_file(build) and (manifest := _build_of(build)) is not None:
        digests = [row.sha256 for row in manifest.artifacts if row.path == model.name]
        if digests and sha256(model) in digests:
            # Builds from before there were other tasks do not say.
            task = str(manifest.recipe.get("task", DEFAULT_TASK))
            return Prepared(_preprocessing(build, manifest.dataset.preprocessing), task)
    if is_file(bundle):
        about = read(bundle, _BundledAbout)
        if model.name in about.models:
            told = {name: getattr(about, name) for name in PREPROCESSING}
            return Prepared(_preprocessing(bundle, told))
    content = carried(model, _METADATA) if is_file(model) else None
    if content is None:
        return Prepared()
    try:
        values = parse_json(content)
    except ValueError as exc:
        raise InputError(f"{model}: its metadata {_METADATA} is damaged ({exc}); say how with --crop") from exc
    return Prepared(_preprocessing(model, values) if isinstance(values, dict) else None)


def _build_of(path: Path) -> BuildManifest | None:
    """The manifest of a build; None where it is another's file of this name, or a bundle's."""
    try:
        return read(path, BuildManifest)
    except InputError:
        return None


def _preprocessing(where: Path, told: Mapping[str, object]) -> Preprocessing | None:
    """Reads a mapping; None if it is silent, as that of a build from arrays."""
    if _CROP not in told:
        return None
    settings = {name: Setting(value, 0) for name, value in told.items() if name in PREPROCESSING}
    return preprocessing_of(where, settings, Preprocessing())
