import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mnedge.cli import main


def _script(capsys: pytest.CaptureFixture[str], shell: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["completion", shell])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def _environment(folder: Path) -> dict[str, str]:
    """An environment whose PATH has an `mnedge` that runs this checkout."""
    program = folder / "mnedge"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mnedge "$@"\n')
    program.chmod(0o755)
    root = Path(__file__).parent.parent.parent
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(root)}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [("mnedge comp", {"compare", "completion"}), ("mnedge completion f", {"fish"}), ("mnedge doctor --g", {"--gpu"})],
)
def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, wanted: set[str]) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    script = tmp_path / "completion.bash"
    script.write_text(_script(capsys, "bash"))
    count = len(words.split()) - 1
    complete = '_mnedge_completion mnedge; echo "${COMPREPLY[@]}"'
    line = f"source {script}; COMP_WORDS=({words}); COMP_CWORD={count}; {complete}"
    done = subprocess.run(["bash", "-c", line], env=_environment(tmp_path), capture_output=True, text=True, check=True)
    assert wanted <= set(done.stdout.split())


@pytest.mark.parametrize(("shell", "check"), [("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"])])
def test_other_shells_take_their_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shell: str, check: list[str]
) -> None:
    text = _script(capsys, shell)
    assert "_MNEDGE_COMPLETE" in text
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    script = tmp_path / "script"
    script.write_text(text)
    assert subprocess.run([*check, str(script)], capture_output=True, text=True, check=False).returncode == 0


def test_json_carries_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    script = _script(capsys, "fish")
    with pytest.raises(SystemExit):
        main(["completion", "fish", "--json"])
    assert json.loads(capsys.readouterr().out) == {"shell": "fish", "script": script}
