"""What a maker says of a bundle: checked before anything is written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mnedge.errors import InputError
from mnedge.results.manifest import BundleManifest
from mnedge.results.stored import read
from mnedge.workflows.bundle import bundle
from mnedge.workflows.release import Release, release_of


@pytest.mark.parametrize(
    ("release", "said"),
    [
        (Release(group="../../etc"), "--group '../../etc' is no Maven group"),
        (Release(group="single"), "is no Maven group"),
        (Release(version="../1"), "--version '../1' is no version"),
        (Release(version=""), "is no version"),
    ],
)
def test_names_that_would_lead_elsewhere(small_build: Path, tmp_path: Path, release: Release, said: str) -> None:
    with pytest.raises(InputError, match=said):
        bundle(small_build, "android", tmp_path / "out", release)


def test_the_recipe_says_what_a_bundle_says_of_itself(
    small_build: Path, seal_build: Callable[..., None], tmp_path: Path
) -> None:
    manifest = json.loads((small_build / "manifest.json").read_text())
    said = {"version": "2.3.0", "group": "com.acme.ml", "license": "CC-BY-4.0", "description": "Tells *ants*."}
    manifest["recipe"]["release"] = said
    seal_build(small_build, manifest)
    assert bundle(small_build, "android", tmp_path / "out").version == "2.3.0"
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert card.startswith("# net 2.3.0\n\nTells \\*ants\\*.\n")
    assert "| licence | CC-BY-4.0 |" in card
    files = read(tmp_path / "out" / "manifest.json", BundleManifest).files
    assert any("com/acme/ml" in row.path for row in files)
    release = release_of(small_build, {"version": "2.4.0"})
    assert (release.version, release.group) == ("2.4.0", "com.acme.ml")
    with pytest.raises(InputError, match=r"'vesion'.*did you mean 'version'"):
        release_of(small_build, {"vesion": "1"})
    assert release.threshold is None
    manifest["recipe"]["threshold"] = 0.35
    seal_build(small_build, manifest)
    assert release_of(small_build, {}).threshold == 0.35
    manifest["recipe"]["threshold"] = "high"
    seal_build(small_build, manifest)
    with pytest.raises(InputError, match=r"threshold of the recipe in .*manifest.json is no number; build it again"):
        release_of(small_build, {})
