"""Release: a maker's description of a bundle."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.bundles._android_runtimes import flavour
from mnedge.bundles._bundle import MANIFEST
from mnedge.errors import InputError
from mnedge.recipe import known_release
from mnedge.results.manifest import BuildManifest
from mnedge.workflows.verify import read_own

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnedge.choices import AndroidRuntime

_GROUP = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", re.ASCII)
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]*", re.ASCII)
# Words that no part of a Java package can be (JLS 3.9).
_JAVA_WORDS = frozenset(
    "abstract assert boolean break byte case catch char class const continue default do double else enum extends false "  # noqa: SIM905 - read as a line
    "final finally float for goto if implements import instanceof int interface long native new null package private "
    "protected public return short static strictfp super switch synchronized this throw throws transient true try void "
    "volatile while".split()
)
_UNSTATED = "see the licences of the weights and of the data they were trained on"


@dataclass(frozen=True)
class Release:
    """A maker's description of a bundle.

    Attributes:
        group: Maven group, lower-case words with dots.
        version: Version of the bundle.
        license: Licence of the weights, as text.
        description: A sentence on what the model is for, for the model card; "" for none.
        target: The one microcontroller to ship where the build has C for several; "" for all, a folder each.
        runtime: Runtime of an Android app: MediaPipe Tasks, LiteRT's CompiledModel or ONNX Runtime.
        threshold: Score, 0..1, from which the programs take an answer; None for their own.
    """

    group: str = "models.mnedge"
    version: str = "1.0.0"
    license: str = _UNSTATED
    description: str = ""
    target: str = ""
    runtime: AndroidRuntime = "tasks"
    threshold: float | None = None


def release_of(built: Path | str, said: Mapping[str, str], **chosen: str) -> Release:
    """Takes the release from the maker, else from the recipe of the build, else from the defaults; the threshold too.

    Args:
        built: Folder that `build` wrote.
        said: The maker's description, by key of the recipe's `release`.
        chosen: Further values of `Release`: target and runtime.

    Raises:
        InputError: `built` is no build, or says something else than text of its release.
    """
    recipe = read_own(Path(built) / MANIFEST, BuildManifest).recipe
    written = recipe.get("release", {})
    if not isinstance(written, dict) or not all(isinstance(text, str) for text in written.values()):
        raise InputError(f"release of the recipe in {Path(built) / MANIFEST} is no mapping of texts; build it again")
    threshold = recipe.get("threshold")
    if threshold is not None and not isinstance(threshold, float):
        raise InputError(f"threshold of the recipe in {Path(built) / MANIFEST} is no number; build it again")
    return replace(described_release({**written, **said}, **chosen), threshold=threshold)


def described_release(said: Mapping[str, str], **chosen: str) -> Release:
    """Gives the release that a mapping such as a recipe's `release` describes.

    Raises:
        InputError: An entry is unknown, or is none that a bundle can carry.
    """
    if unknown := sorted(said.keys() - known_release().keys()):
        raise InputError.unknown("entry of release", unknown[0], known_release())
    release = Release(**said, **chosen)  # type: ignore[arg-type] # the runtime is checked
    check_release(release)
    return release


def check_release(release: Release) -> None:
    """Makes sure that a bundle can carry a release.

    Raises:
        InputError: Its group is no Maven group, its version no version, its runtime unknown, or its threshold no score.
    """
    if not _GROUP.fullmatch(release.group):
        raise InputError(
            f"--group {release.group!r} is no Maven group; give lower-case words with dots: com.example.ml"
        )
    if words := sorted(_JAVA_WORDS & set(release.group.split("."))):
        raise InputError(
            f"--group {release.group!r} holds {', '.join(words)}, which Java keeps for itself, so no Android package "
            f"can have it; write e.g. {words[0]}_"
        )
    flavour(release.runtime)
    # nan is in no range.
    if release.threshold is not None and not 0 <= release.threshold <= 1:
        raise InputError(f"--threshold is {release.threshold}; it is a score, 0 to 1")
    if not _VERSION.fullmatch(release.version):
        raise InputError(f"--version {release.version!r} is no version; give e.g. 1.0.0")
