# ruff: noqa: INP001 - a script, no package
"""Makes the README's pictures from a real build: `python docs/pictures.py [FLAGS OF mnedge build]`.

terminal.svg is what the build prints, report.png is its report.html as Chromium shows it. Needs chromium on PATH.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = Path(__file__).parent
_COLUMNS = 118
_DEFAULT_FLAGS = ("--variant", "v3-small", "--int8")
_PAGE_SIZE = "1180,1300"
# Rich's own SVG fetches a font; this one takes the reader's.
_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; \
font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def session(arguments: list[str]) -> str:
    """Runs mnedge with a terminal for its output and returns what it printed, with its colours.

    Progress goes to a pipe, so that it is one line a stage; what libraries log is left out.
    """
    main_end, program_end = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(_COLUMNS), "LINES": "100", "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "mnedge", *arguments]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=program_end, stderr=log, env=environment)  # noqa: S603 - mnedge
        os.close(program_end)
        printed = b"".join(_chunks(main_end))
        os.close(main_end)
        if process.wait() != 0:
            raise SystemExit(f"mnedge {shlex.join(arguments)} ended with {process.returncode}")
        log.seek(0)
        progress = [line for line in log.read().decode().splitlines() if re.search(r": done in [\d.]+ s$", line)]
    return "\n".join([*progress, "", printed.decode().replace("\r\n", "\n").rstrip()])


def _chunks(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            # Linux tells the end of a terminal in this way.
            return
        if not chunk:
            return
        yield chunk


def draw(command_line: str, text: str, path: Path) -> None:
    """Writes a terminal session as SVG."""
    from rich.console import Console
    from rich.text import Text

    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=_COLUMNS, file=nowhere, force_terminal=True)
        console.print(Text.assemble(("$ ", "green"), (command_line, "bold")))
        console.print(Text.from_ansi(text))
        path.write_text(console.export_svg(title="mnedge", code_format=_SVG, unique_id="mnedge"))


def photograph(page: Path, path: Path) -> None:
    """Takes a picture of a page with Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no chromium on PATH; apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        size = [f"--window-size={_PAGE_SIZE}", "--hide-scrollbars", "--force-device-scale-factor=1"]
        target = [f"--user-data-dir={profile}", f"--screenshot={path}", page.resolve().as_uri()]
        subprocess.run(  # noqa: S603 - a fixed program
            [chromium, *flags, *size, *target], check=True, timeout=120, capture_output=True
        )


def main() -> None:
    """Builds with the flags that were given, and writes both pictures beside this file."""
    flags = sys.argv[1:] or list(_DEFAULT_FLAGS)
    with tempfile.TemporaryDirectory() as folder:
        text = session(["build", *flags, "--out", f"{folder}/build"])
        shown = text.replace(f"{folder}/build", "artifacts")
        draw(f"mnedge build {shlex.join(flags)}", shown, _HERE / "terminal.svg")
        photograph(Path(folder) / "build" / "report.html", _HERE / "report.png")


if __name__ == "__main__":
    main()
