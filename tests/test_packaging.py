"""The wheel holds what the checkout holds."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_ROOT = Path(__file__).parent.parent


def test_every_package_is_listed() -> None:
    listed = set(tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    files = [path for path in (_ROOT / "mnedge").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    folders = {".".join(path.parent.relative_to(_ROOT).parts) for path in files}
    assert listed == {*folders, "mnedge.calibration", "mnedge.recipes"}


@pytest.mark.slow
def test_the_wheel_holds_every_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", tmp_path, _ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 and "setuptools" in done.stderr:
        pytest.skip("no package index to get the build backend from")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        inside = set(wheel.namelist())
    due = {
        path.relative_to(_ROOT).as_posix()
        for path in (_ROOT / "mnedge").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for kind in ("calibration", "recipes"):
        due |= {f"mnedge/{kind}/{path.name}" for path in (_ROOT / kind).glob("*.yaml")}
    assert due <= inside, sorted(due - inside)
    assert not any(name.startswith("tests") for name in inside)
