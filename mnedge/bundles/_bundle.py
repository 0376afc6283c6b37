"""Bundle: one kind of thing to ship. One kind = one file beside this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mnedge import artifact, registry
from mnedge.results.manifest import BundleManifest, FileRow
from mnedge.results.stored import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mnedge.results.manifest import BundledModel

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Parts:
    """What a bundle is made of.

    Attributes:
        slug: Name of the model.
        task: What it does: classify, segment, …
        resolution: Side of the input in pixels.
        labels: Class names, one an output.
        preprocessing: {crop_fraction, interpolation} that the model was calibrated and measured with.
        tools: Versions of the packages that made the model.
        tflite: Gives the int8 .tflite with ends of a dtype.
        onnx: The int8 .onnx with real-valued ends; None where the build made none.
        sources: Folders of C sources by target.
        group: Maven group; also the start of Android package names.
        version: Version under which the bundle is released.
        license: Licence of the weights, as text.
    """

    slug: str
    task: str
    resolution: int
    labels: tuple[str, ...]
    preprocessing: Mapping[str, float | str]
    tools: Mapping[str, str]
    tflite: Callable[[Literal["int8", "uint8", "float32"]], bytes]
    onnx: Path | None
    sources: Mapping[str, Path]
    group: str
    version: str
    license: str

    @property
    def identifier(self) -> str:
        """The slug as a name in C, Java and Kotlin."""
        return self.slug.replace(".", "_").replace("-", "_")

    @property
    def labels_text(self) -> str:
        """labels.txt: one class name a line."""
        return "".join(f"{label}\n" for label in self.labels)


@dataclass(frozen=True)
class Bundle:
    """A kind of bundle.

    Attributes:
        description: One line for `mnedge bundle --help`.
        write: Fills an empty folder.
        has_archive: Whether the folder is also written as .tar.gz.
        needs: Format of the int8 artifact without which there is no such bundle: "tflite", "onnx" or "c".
    """

    description: str
    write: Callable[[Parts, Path], None]
    has_archive: bool = False
    needs: artifact.Format = "tflite"


def get(name: str) -> Bundle:
    """Looks a kind of bundle up by the name of its file.

    Raises:
        InputError: No such kind; the message names the known ones.
    """
    bundle: Bundle = registry.load("mnedge.bundles", name, "BUNDLE")
    return bundle


def write_manifest(folder: Path, kind: str, parts: Parts, model: BundledModel) -> BundleManifest:
    """Writes manifest.json: what each file of a bundle is to be.

    Args:
        folder: The bundle, complete but for the manifest.
        kind: Name of the kind.
        parts: What it was made of.
        model: The build.
    """
    manifest = BundleManifest(
        bundle=kind,
        slug=parts.slug,
        version=parts.version,
        tools=parts.tools,
        model=model,
        files=tuple(FileRow.of(path, path.relative_to(folder).as_posix()) for path in artifact.files_of(folder)),
    )
    artifact.write_text(folder / MANIFEST, to_json(manifest))
    return manifest
