import json
from pathlib import Path

import pytest

from mnedge import __version__, cache
from mnedge.errors import InputError
from mnedge.validation.locked import check_locked, check_tools

_HERE = {"mnedge": __version__, **cache.tool_versions()}


def test_the_same_tools_pass_and_others_are_named(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"tools": _HERE}))
    check_tools(path)
    path.write_text(json.dumps({"tools": {**_HERE, "numpy": "1.0.0", "gone": "3"}}))
    with pytest.raises(InputError, match=rf"gone 3, here absent; numpy 1\.0\.0, here {_HERE['numpy']}") as caught:
        check_tools(path)
    assert str(caught.value).endswith("pip install gone==3 numpy==1.0.0")
    path.write_text(json.dumps({"tools": {key: value for key, value in _HERE.items() if key != "numpy"}}))
    with pytest.raises(InputError, match="numpy absent, here"):
        check_tools(path)


def test_no_manifest_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="build once without --locked"):
        check_tools(tmp_path / "manifest.json")
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match=r"is not a manifest\.json of a build"):
        check_tools(tmp_path / "manifest.json")


def test_a_constraints_file_holds_what_is_installed(tmp_path: Path) -> None:
    path = tmp_path / "pins.txt"
    path.write_text(f"# a comment\nmnedge=={__version__}\nnumpy=={_HERE['numpy']}  # arrays\n\n")
    check_tools(path)
    path.write_text(f"mnedge=={__version__}\nnumpy==1.0.0\nno-such-package==3\n")
    with pytest.raises(InputError, match=r"no-such-package 3, here absent; numpy 1\.0\.0, here") as caught:
        check_tools(path)
    assert str(caught.value).endswith(f"pip install -c {path} mnedge=={__version__}")
    for text, said in (("numpy>=1\n", "line 1 is no NAME==VERSION"), ("# nothing\n", "pins nothing")):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            check_tools(path)


def test_locked_takes_the_manifest_before_the_constraints(tmp_path: Path) -> None:
    manifest, constraints = tmp_path / "manifest.json", tmp_path / "mnedge-constraints.txt"
    constraints.write_text("numpy==1.0.0\n")
    with pytest.raises(InputError, match=r"numpy 1\.0\.0, here"):
        check_locked(manifest, constraints)
    manifest.write_text(json.dumps({"tools": _HERE}))
    check_locked(manifest, constraints)
