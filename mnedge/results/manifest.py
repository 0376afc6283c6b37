"""manifest.json: what it takes to make a build or a bundle again, and what each of its files is to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mnedge.results import shown
from mnedge.results.report import ArtifactRow

SCHEMA = 1


@dataclass(frozen=True)
class DatasetRow:
    """The data set that a build was calibrated and measured with: its name and how its pictures are prepared."""

    name: str
    preprocessing: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BuildManifest:
    """What it takes to build the same again. No times, no host.

    Attributes:
        schema: Version of manifest.json.
        slug: Name of the build.
        recipe: The resolved recipe, by key.
        tools: Versions by package.
        weights_sha256: Checksum of the weights' file; None where there is none.
        dataset: The data set.
        calibration_sha256: Checksum of the calibration pictures; None for a float build.
        artifacts: What was made.
    """

    schema: int = SCHEMA
    slug: str
    recipe: Mapping[str, object]
    tools: Mapping[str, str]
    weights_sha256: str | None
    dataset: DatasetRow
    calibration_sha256: str | None
    artifacts: tuple[ArtifactRow, ...]


@dataclass(frozen=True)
class BundleFile:
    """A file of a bundle: its path inside, size and checksum."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class BundledModel:
    """The build that a bundle was made of: its name and checksums, no paths of this machine."""

    slug: str
    weights_sha256: str | None
    calibration_sha256: str | None
    artifacts: tuple[ArtifactRow, ...]


@dataclass(frozen=True, kw_only=True)
class BundleManifest:
    """What a bundle is to be.

    Attributes:
        schema: Version of manifest.json.
        bundle: Name of the kind.
        slug: Name of the model.
        version: Version of the bundle.
        tools: Versions of the packages that made the model.
        model: The build that it was made of.
        files: What each file is to be.
    """

    schema: int = SCHEMA
    bundle: str
    slug: str
    version: str
    tools: Mapping[str, str]
    model: BundledModel
    files: tuple[BundleFile, ...]

    def _repr_html_(self) -> str:
        rows = ((file.path, file.bytes) for file in self.files)
        return shown.table(f"{self.bundle} bundle of {self.slug}", ("file", "bytes"), rows)


@dataclass(frozen=True)
class FileSum:
    """The name and checksum of a file, as every manifest.json has them."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Inventory:
    """The part of any manifest.json that tells which files there are to be.

    Attributes:
        slug: Name of the build or model.
        bundle: Kind of bundle; "build" for a build.
        files: The files of a bundle; None for a build.
        artifacts: The artifacts of a build.
    """

    slug: str
    bundle: str = "build"
    files: tuple[FileSum, ...] | None = None
    artifacts: tuple[FileSum, ...] = ()

    @property
    def sums(self) -> dict[str, str]:
        """Checksum of each file that there is to be, by its path."""
        return {row.path: row.sha256 for row in (self.artifacts if self.files is None else self.files)}


@dataclass(frozen=True)
class Verified:
    """A build or bundle whose files are all as its manifest says.

    Attributes:
        path: What was checked.
        bundle: Its kind; "build" for a build.
        slug: Name of the model.
        files: How many files were checked.
    """

    path: str
    bundle: str
    slug: str
    files: int

    def _repr_html_(self) -> str:
        return shown.table(
            "verified", ("path", "kind", "model", "files"), [(self.path, self.bundle, self.slug, self.files)]
        )
