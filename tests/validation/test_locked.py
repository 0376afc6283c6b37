import json
from pathlib import Path

import pytest

from mnedge import __version__, cache
from mnedge.errors import InputError
from mnedge.validation.locked import check_tools

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
