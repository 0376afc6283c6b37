"""Chromium in tests, driven over its debugging pipe: keys, pictures of the page, and what its scripts give."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

from mnedge.devices._chromium import ON_PIPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--disable-breakpad",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--remote-debugging-pipe",
)  # fmt: skip


class Tab:
    """A page."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = os.fdopen(read, "rb"), os.fdopen(write, "wb")
        self._number = 0
        self.events: list[dict[str, Any]] = []
        self._session: str | None = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def close(self) -> None:
        """Lets the pipes go."""
        self._read.close()
        self._write.close()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the debugging protocol."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        self._write.flush()
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, (method, told["error"])
                return told["result"]

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._read.read(1)) != b"\0":
            assert byte, "Chromium ended"
            text += byte
        told = json.loads(text)
        if "method" in told:
            self.events.append(told)
        return told

    def open(self, url: str) -> None:
        """Goes to an address."""
        assert "errorText" not in self.ask("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The JSON value of an expression, which may be a promise."""
        made = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in made, made["exceptionDetails"]
        return made["result"].get("value")

    def wait(self, script: str, seconds: float = 120.0) -> Any:
        """Waits until an expression is true."""
        until = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < until, (script, self.run("document.body.innerText"), self.faults())
            time.sleep(0.1)
        return found

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key, down and up."""
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                **({"text": text} if text and kind == "keyDown" else {}),
            )  # fmt: skip

    def choose(self, selector: str, path: Path) -> None:
        """Puts a file into a file input."""
        document = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.ask("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def look(self, path: Path, width: int, height: int, *, dark: bool = False) -> None:
        """A picture of the page in a window of a size."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[feature])
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def faults(self) -> list[str]:
        """Messages of exceptions, of the console's errors and of refused content."""
        found = []
        for event in self.events:
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(event["params"]["exceptionDetails"])[:500])
            if event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                found.append(event["params"]["entry"]["text"] + " " + event["params"]["entry"].get("url", ""))
        return found

    def hosts(self) -> set[str]:
        """Hosts that were asked for anything."""
        urls = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return {url.split("/")[2] for url in urls if url.startswith("http")}


@contextmanager
def chromium() -> Iterator[Tab]:
    """A Chromium with an empty profile."""
    profile = tempfile.mkdtemp(prefix="mnedge-test-chromium-")
    read, theirs_out = os.pipe()
    theirs_in, write = os.pipe()
    program = shutil.which("chromium")
    assert program
    argv = [
        sys.executable,
        "-c",
        ON_PIPES,
        str(theirs_in),
        str(theirs_out),
        program,
        *_FLAGS,
        f"--user-data-dir={profile}",
    ]
    process = subprocess.Popen(
        argv, pass_fds=(theirs_in, theirs_out), start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        tab = Tab(read, write)
        yield tab
        tab.close()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)


class _Handler(SimpleHTTPRequestHandler):
    headers_of_folder: ClassVar[Mapping[str, str]] = {}
    kinds: ClassVar[Mapping[str, str]] = {
        ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"
    }  # fmt: skip

    def guess_type(self, path: str | os.PathLike[str]) -> str:
        return self.kinds.get(os.path.splitext(path)[1]) or super().guess_type(path)  # noqa: PTH122 - of an address

    def end_headers(self) -> None:
        for name, value in self.headers_of_folder.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_words: object) -> None:
        pass


@contextmanager
def served(folder: Path, headers: Mapping[str, str], kinds: Mapping[str, str] | None = None) -> Iterator[str]:
    """A folder on a free port of loopback, with headers and kinds of files by suffix; gives its address."""
    more = {"headers_of_folder": dict(headers), "kinds": {**_Handler.kinds, **(kinds or {})}}
    handler = type("Handler", (_Handler,), more)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
