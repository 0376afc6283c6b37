import json
import re
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mnedge.results.installation import Part
from mnedge.results.stored import to_json
from mnedge.workflows import doctor as diagnosis

_PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def _listed(start: str) -> set[str]:
    """Names of the distributions in one list of pyproject.toml (tomllib is not in Python 3.10)."""
    text = _PYPROJECT.read_text()
    block = re.search(rf"^{start} = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    assert block is not None, start
    return set(re.findall(r'"([A-Za-z0-9-]+)[^"]*"', block[1]))


def test_the_packages_are_those_of_pyproject() -> None:
    needed = {part.name for part in diagnosis.packages() if part.needed}
    extra = {part.name for part in diagnosis.packages() if not part.needed}
    assert needed == _listed("dependencies")
    assert extra >= _listed("tflm") | _listed("ethos-u") | _listed("dask")


def test_a_program_says_its_version_or_that_it_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Real programs: one that answers, one that fails.
    for name, script in (("gcc", "echo gcc 99.1.2"), ("adb", "exit 3")):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    versions = {part.name: part.version for part in diagnosis.programs()}
    assert versions["gcc"] == "99.1.2"
    assert versions["adb"] == "does not run"
    assert versions["ssh"] is None


def test_what_the_cpu_has_for_int8_is_what_numpy_sees() -> None:
    seen = pytest.importorskip("numpy._core._multiarray_umath").__cpu_features__
    told = diagnosis.machine()
    if told["CPU features"] == "not told by this system":
        pytest.skip("this system does not list CPU features")
    assert ("avx512_vnni" in told["for int8"]) == seen.get("AVX512VNNI", "avx512_vnni" in told["for int8"])
    for ours, theirs in (("avx2", "AVX2"), ("avx512f", "AVX512F"), ("asimd", "ASIMD"), ("sve", "SVE")):
        if theirs in seen:
            assert (ours in told["CPU features"].split(", ")) == seen[theirs], ours


def test_it_is_quick_because_nothing_heavy_is_imported() -> None:
    code = "import sys; from mnedge.workflows import doctor as d; d.packages(); d.machine(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "onnx", "onnxruntime", "keras", "sklearn"} & set(modules)


def test_runtimes_of_browsers_say_their_version_or_the_command_that_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNEDGE_WEB_MODULES", str(tmp_path / "web" / "node_modules"))
    for name in ("@litertjs/core", "@litertjs/wasm-utils"):
        folder = tmp_path / "web" / "node_modules" / name
        folder.mkdir(parents=True)
        (folder / "package.json").write_text('{"version": "2.5.3"}')
    litert, onnx = diagnosis.web_modules()
    assert (litert.name, litert.version) == ("@litertjs/core", "2.5.3")
    assert (onnx.name, onnx.version) == ("onnxruntime-web", None)
    assert onnx.get.startswith(f'npm install --prefix "{tmp_path / "web"}" onnxruntime-web@')
    monkeypatch.delenv("MNEDGE_WEB_MODULES")
    assert [part.version for part in diagnosis.web_modules()] == [None, None]


def test_the_verb_gives_parts_and_machine_and_shows_them() -> None:
    found = diagnosis.doctor()
    assert found.gpus is None
    assert found.missing == ()
    assert {part.name for part in found.parts} >= {"numpy", "tensorflow"}
    assert "numpy" in found._repr_html_()
    short = replace(found, parts=(*found.parts, Part("absent", None, needed=True, gives="x", get="pip install absent")))
    assert [part.name for part in short.missing] == ["absent"]
    assert json.loads(to_json(short))["ok"] is False
