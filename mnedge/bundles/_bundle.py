"""Bundle: one kind of thing to ship. One kind = one file beside this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mnedge import artifact, registry
from mnedge.errors import UnsupportedError
from mnedge.files import files_of, write_text
from mnedge.results.manifest import BundleManifest, FileRow
from mnedge.results.stored import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mnedge.choices import AndroidRuntime
    from mnedge.graph.heads import Head
    from mnedge.pixels import Pixels
    from mnedge.results.app_check import AppCheck
    from mnedge.results.manifest import BundledModel, KeptGate

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Parts:
    """The build that a bundle is made from.

    Attributes:
        slug: Name of the model.
        task: Task of the model: classify, segment, …
        size: Height and width of the input in pixels.
        pixels: Pixels of a picture at the input.
        takes_pixels: Whether an int8 input is the pixel minus 128 and a uint8 input the pixel.
        head: Kind of the values of the first output.
        labels: Class names, one an output.
        preprocessing: {crop_fraction, interpolation} that the model was calibrated and measured with.
        tools: Versions of the packages that made the model.
        tflite: Gives the int8 .tflite with ends of a dtype.
        onnx: The int8 .onnx with real-valued ends; None where the build made none.
        sources: Folders of C sources by target.
        group: Maven group; also the start of Android package names.
        version: Version under which the bundle is released.
        license: Licence of the weights, as text.
        runtime: Runtime of an Android app or a page.
        modules: Folder node_modules with the runtime of a page, to be copied; None for none.
        threshold: Score, 0..1, from which the programs take an answer; None for their own.
    """

    slug: str
    task: str
    size: tuple[int, int]
    pixels: Pixels
    takes_pixels: bool
    head: Head
    labels: tuple[str, ...]
    preprocessing: Mapping[str, float | str]
    tools: Mapping[str, str]
    tflite: Callable[[Literal["int8", "uint8", "float32"]], bytes]
    onnx: Path | None
    sources: Mapping[str, Path]
    group: str
    version: str
    license: str
    runtime: AndroidRuntime = "tasks"
    modules: Path | None = None
    threshold: float | None = None

    @property
    def told_threshold(self) -> dict[str, object]:
        """The entry of model.json for a threshold that was asked for."""
        return {} if self.threshold is None else {"threshold": self.threshold}

    @property
    def identifier(self) -> str:
        """The slug as a name in C, Java and Kotlin."""
        return self.slug.replace(".", "_").replace("-", "_")

    @property
    def shown_size(self) -> str:
        """The size of the input as texts have it, width first."""
        height, width = self.size
        return f"{width} x {height}"

    @property
    def shown_classes(self) -> str:
        """The number of classes as texts have it."""
        return "1 class" if len(self.labels) == 1 else f"{len(self.labels)} classes"

    @property
    def described_input(self) -> dict[str, object]:
        """Gives the size, pixels and preprocessing of the pictures, for model.json and the metadata."""
        height, width = self.size
        return {"height": height, "width": width, "pixels": described(self.pixels), **self.preprocessing}

    def onnx_pixels(self) -> Pixels:
        """Reads the pixels of the .onnx, whose lowering may differ from that of the .tflite.

        Raises:
            UnsupportedError: It does not say so.
        """
        from mnedge.formats.pixels import pixels_of

        assert self.onnx is not None, "the kind of bundle looks whether there is one"
        pixels = pixels_of(self.onnx)
        if pixels is None:
            raise UnsupportedError(
                f"the .onnx of {self.slug} does not say what a picture is to it; build it again, with --pixels where "
                "the model does not say its range"
            )
        return pixels

    @property
    def labels_text(self) -> str:
        """labels.txt: one class name a line."""
        return "".join(f"{label}\n" for label in self.labels)


def described(pixels: Pixels) -> dict[str, object]:
    """A `Pixels` as model.json has it: real = scale * pixel + offset, with channels in the order."""
    return {"scale": pixels.scale, "offset": pixels.offset, "order": pixels.order}


@dataclass(frozen=True)
class Bundle:
    """A kind of bundle.

    Attributes:
        write: Fills an empty folder.
        has_archive: Whether the folder is also written as .tar.gz.
        takes_modules: Whether a runtime that npm installed can be copied into it.
        needs: Format of the int8 artifact without which there is no such bundle: "tflite", "onnx" or "c".
        check: Reads somebody's app of this kind; None where there is no such check. Raises InputError.
    """

    write: Callable[[Parts, Path], None]
    has_archive: bool = False
    takes_modules: bool = False
    needs: artifact.Format = "tflite"
    check: Callable[[Path], AppCheck] | None = None


def get(name: str) -> Bundle:
    """Looks a kind of bundle up by the name of its file.

    Raises:
        InputError: No such kind; the message names the known ones.
    """
    bundle: Bundle = registry.load("mnedge.bundles", name, "BUNDLE")
    return bundle


def file_rows(folder: Path) -> tuple[FileRow, ...]:
    """Lists the files of a folder with their checksums, by their path in it."""
    return tuple(FileRow.of(path, path.relative_to(folder).as_posix()) for path in files_of(folder))


def write_manifest(
    folder: Path, kind: str, parts: Parts, model: BundledModel, gates: tuple[KeptGate, ...] = ()
) -> BundleManifest:
    """Writes manifest.json: what each file of a bundle is to be.

    Args:
        folder: The bundle without its manifest.
        kind: Name of the kind.
        parts: The build that it was made of.
        model: The build.
        gates: Its gates, and whether it kept them.
    """
    manifest = BundleManifest(
        bundle=kind,
        slug=parts.slug,
        version=parts.version,
        tools=parts.tools,
        model=model,
        gates=gates,
        files=file_rows(folder),
    )
    write_text(folder / MANIFEST, to_json(manifest))
    return manifest
