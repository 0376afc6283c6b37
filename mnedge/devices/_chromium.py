"""The process of a browser: started on the agent's page, ended with this process, its words kept."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from collections import deque
from typing import TYPE_CHECKING, BinaryIO

from mnedge import command
from mnedge.devices._page import Page
from mnedge.files import own_folder

if TYPE_CHECKING:
    from pathlib import Path

# No window, no first-run pages, and nothing sent or fetched; a hidden page is not slowed down.
_FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-default-browser-check",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad",
    "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows", "--mute-audio",
    "--remote-debugging-pipe",
)  # fmt: skip
# A program that becomes another one, which reads commands from descriptor 3 and writes to 4, as Chromium does.
ON_PIPES = (
    "import fcntl, os, sys; r, w = (fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3]); "
    "os.dup2(r, 3); os.dup2(w, 4); os.execvp(sys.argv[3], sys.argv[3:])"
)
_LAST_LINES = 20


class Browser:
    """A browser of its own, without a window and with an empty profile, that shows the agent's page.

    Attributes:
        page: The page.
        process: The browser.
    """

    def __init__(self, program: str, modules: Path, *, has_sandbox: bool) -> None:
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._readers: list[threading.Thread] = []
        self._profile = own_folder("browser", tempfile.gettempdir())
        # The browser ends when this process does, however that comes about: the system then closes the pipes.
        commands, self._hold = os.pipe()
        self._heard, answers = os.pipe()
        try:
            self.page = Page(modules)
            flags = [*_FLAGS, *([] if has_sandbox else ["--no-sandbox"]), f"--user-data-dir={self._profile}"]
            argv = [sys.executable, "-c", ON_PIPES, str(commands), str(answers), program, *flags, self.page.url]
            try:
                self.process = command.start(argv, stdin=False, pass_fds=(commands, answers))
            except BaseException:
                self.page.close()
                raise
        except BaseException:
            self._forget()
            raise
        finally:
            os.close(commands)
            os.close(answers)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            # What nobody reads would stop it once the pipe is full.
            self._readers.append(threading.Thread(target=self._read, args=(stream,), daemon=True))
            self._readers[-1].start()

    def close(self) -> None:
        """Ends it, whatever it does, and removes its profile."""
        try:
            command.end(self.process)
            for reader in self._readers:
                reader.join(2.0)
            command.kill(self.process)
        finally:
            self.page.close()
            self._forget()

    def _forget(self) -> None:
        os.close(self._hold)
        os.close(self._heard)
        shutil.rmtree(self._profile, ignore_errors=True)

    def last_words(self) -> str:
        """The end of what the browser wrote."""
        return " ".join(self._lines)[-600:]

    def _read(self, stream: BinaryIO) -> None:
        for line in stream:
            self._lines.append(line.decode(errors="replace").strip()[:500])
