"""manifest.json: the inputs that make a build or a bundle again, and the checksum of each file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from mnedge.files import sha256, size_bytes
from mnedge.results import shown
from mnedge.results.report import ArtifactRow
from mnedge.results.stored import ABSENT

SCHEMA = 1


@dataclass(frozen=True)
class FileRow:
    """A file: its path, size and checksum."""

    path: str
    bytes: int
    sha256: str

    @staticmethod
    def of(path: Path, name: str | None = None) -> FileRow:
        """The row of a file that is in its place.

        Args:
            path: The file.
            name: Its path in the manifest; None for the file's name.
        """
        return FileRow(path.name if name is None else name, size_bytes(path), sha256(path))


@dataclass(frozen=True)
class CalibrationRow:
    """The calibration set of a build: name, number of pictures, where they come from, and their licence."""

    name: str
    images: int
    source: str
    licence: str


@dataclass(frozen=True)
class DatasetRow:
    """The data set that a build was calibrated and measured with.

    Attributes:
        name: Its name.
        preprocessing: Preprocessing of its pictures.
        draw: Draw of its splits; None for a data set with its own.
        sha256: Digest of its pictures, labels, splits and preprocessing; None in builds of older versions.
    """

    name: str
    preprocessing: Mapping[str, float | str] = field(default_factory=dict)
    draw: Mapping[str, float | str | bool] | None = field(default=None, metadata=ABSENT)
    sha256: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class BuildManifest:
    """Inputs that make the same build again. No times, no host.

    Attributes:
        schema: Version of manifest.json.
        slug: Name of the build.
        recipe: The resolved recipe, by key.
        tools: Versions by package.
        weights_sha256: Checksum of the weights' file; None without a file.
        dataset: The data set.
        calibration: The calibration set; None for a float build.
        calibration_sha256: Checksum of its pictures; None likewise.
        artifacts: Artifacts of the build.
        labels: labels.txt; None for a build of an older version.
    """

    FILE: ClassVar[str] = "manifest.json of a build"

    schema: int = SCHEMA
    slug: str
    recipe: Mapping[str, object]
    tools: Mapping[str, str]
    weights_sha256: str | None
    dataset: DatasetRow
    calibration: CalibrationRow | None = None
    calibration_sha256: str | None
    artifacts: tuple[ArtifactRow, ...]
    labels: FileRow | None = None


@dataclass(frozen=True)
class LockedTools:
    """The part of a build's manifest.json that `build --locked` reads: versions by package."""

    FILE: ClassVar[str] = "manifest.json of a build"

    tools: Mapping[str, str]


@dataclass(frozen=True)
class BundledModel:
    """The build that a bundle was made of: its name and checksums, no paths of this machine."""

    slug: str
    weights_sha256: str | None
    calibration_sha256: str | None
    artifacts: tuple[ArtifactRow, ...]


@dataclass(frozen=True)
class KeptGate:
    """A gate of the build: its limit and whether the build kept it. No measured time, which no manifest holds."""

    name: str
    limit: float | bool
    passed: bool


@dataclass(frozen=True, kw_only=True)
class BundleManifest:
    """Manifest of a bundle.

    Attributes:
        schema: Version of manifest.json.
        bundle: Name of the kind.
        slug: Name of the model.
        version: Version of the bundle.
        tools: Versions of the packages that made the model.
        model: The build that it was made of.
        gates: Gates of the build, and whether it kept them.
        files: Checksum of each file.
    """

    FILE: ClassVar[str] = "manifest.json of a bundle"

    schema: int = SCHEMA
    bundle: str
    slug: str
    version: str
    tools: Mapping[str, str]
    model: BundledModel
    gates: tuple[KeptGate, ...] = ()
    files: tuple[FileRow, ...]

    def _repr_html_(self) -> str:
        rows = ((file.path, file.bytes) for file in self.files)
        return shown.table(f"{self.bundle} bundle of {self.slug}", ("file", "bytes"), rows)


@dataclass(frozen=True)
class Checksums:
    """checksums.json of a build: its manifest and reports, whose measured times manifest.json must not depend on."""

    FILE: ClassVar[str] = "checksums.json"

    files: tuple[FileRow, ...]
    schema: int = SCHEMA


@dataclass(frozen=True)
class Inventory:
    """The part of any manifest.json that tells a bundle from a build.

    Attributes:
        slug: Name of the build or model.
        bundle: Kind of bundle; "build" for a build.
        files: The files of a bundle; None for a build.
        gates: The gates of a bundle's build.
    """

    FILE: ClassVar[str] = "manifest.json"

    slug: str
    bundle: str = "build"
    files: tuple[FileRow, ...] | None = None
    gates: tuple[KeptGate, ...] = ()


@dataclass(frozen=True)
class Verified:
    """A build or bundle whose files are all as its manifest says.

    Attributes:
        path: Build or bundle that was checked.
        bundle: Its kind; "build" for a build.
        slug: Name of the model.
        files: Number of files that were checked.
        broken_gates: Names of the gates that the build broke.
        signed: Whether a signature was checked.
        passed_over: Folders of a bundle that Python made there, and that were not looked into.
    """

    path: str
    bundle: str
    slug: str
    files: int
    broken_gates: tuple[str, ...] = ()
    signed: bool = False
    passed_over: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        return shown.table(
            "verified", ("path", "kind", "model", "files"), [(self.path, self.bundle, self.slug, self.files)]
        )
