"""The page in a browser: served on loopback, asked through its own requests, so that no library drives the browser."""

from __future__ import annotations

import json
import queue
import secrets
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mnedge.devices._web_modules import ENGINES
from mnedge.errors import ToolError
from mnedge.foreign import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript",
          ".wasm": "application/wasm"}  # fmt: skip
# A browser gives up on a request that is not answered for minutes.
_POLL_S = 10.0
_MOST_ANSWER_BYTES = 1 << 30
_HEADER = struct.Struct("<I")
# Threads need memory that is shared, and browsers share it only on pages that are cut off from others.
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A browser that ends in the middle of a request is told of by who waits for its answer."""


@dataclass(frozen=True)
class Answer:
    """Answer of a page: its header, JSON, and bytes."""

    header: Mapping[str, object]
    payload: bytes


class Page:
    """The agent's page on a free port of loopback, behind a path that nobody guesses.

    Attributes:
        url: Its address.
    """

    def __init__(self, modules: Path) -> None:
        self._modules = modules
        self._root = f"/{secrets.token_urlsafe(24)}/"
        self._work: queue.Queue[bytes] = queue.Queue()
        self._answers: queue.Queue[bytes] = queue.Queue()
        self._over = threading.Event()
        page = self

        class Handler(BaseHTTPRequestHandler):
            """Requests of the page."""

            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                """Gives a file or the next piece of work."""
                page._give(self)

            def do_POST(self) -> None:
                """Takes an answer."""
                page._take(self)

            def log_message(self, *_words: object) -> None:
                """Requests are nobody's news."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{self._root}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def close(self) -> None:
        """Ends the server."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def ask(self, header: Mapping[str, object], payload: bytes, wait: Callable[[], None], limit_s: float) -> Answer:
        """Gives work to the page and waits for its answer; see `hear`."""
        text = json.dumps(header).encode()
        self._work.put(_HEADER.pack(len(text)) + text + payload)
        return self.hear(wait, limit_s)

    def hear(self, wait: Callable[[], None], limit_s: float) -> Answer:
        """Waits for the next answer.

        Args:
            wait: Called a few times a second; an exception from it ends the wait.
            limit_s: Longest wait.

        Raises:
            TimeoutError: No answer came in time.
            ToolError: The answer is none of the agent's.
        """
        glance_s = 0.2
        for _ in range(max(1, round(limit_s / glance_s))):
            try:
                return _parsed(self._answers.get(timeout=glance_s))
            except queue.Empty:
                wait()
        raise TimeoutError

    def _give(self, request: BaseHTTPRequestHandler) -> None:
        path = urlsplit(request.path).path
        if not secrets.compare_digest(path[: len(self._root)].encode(), self._root.encode()):
            _respond(request, 404, b"", "text/plain")
            return
        name = path[len(self._root) :]
        if name == "next":
            self._give_work(request)
            return
        try:
            content = self._file(name or "index.html")
        except ToolError as exc:
            _respond(request, 404, str(exc).encode(), "text/plain")
            return
        _respond(request, 200, content, _TYPES.get(f".{name.rpartition('.')[2]}", _TYPES[".html"]))

    def _give_work(self, request: BaseHTTPRequestHandler) -> None:
        glance_s = 0.5
        for _ in range(round(_POLL_S / glance_s)):
            try:
                _respond(request, 200, self._work.get(timeout=glance_s), "application/octet-stream")
            except queue.Empty:
                if self._over.is_set():
                    break
            else:
                return
        _respond(request, 204, b"", "text/plain")

    def _file(self, name: str) -> bytes:
        folder, _, inner = name.rpartition("/")
        if not folder and name in ("index.html", "agent.js"):
            return files("mnedge.devices").joinpath("page", name).read_bytes()
        if folder in ENGINES and inner in ENGINES[folder].files:
            return ENGINES[folder].read(self._modules, inner)
        raise ToolError(f"{name} is no file of the page")

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        length = request.headers.get("Content-Length", "")
        is_sized = length.isascii() and length.isdigit() and int(length) <= _MOST_ANSWER_BYTES
        if request.path != f"{self._root}answer" or not is_sized:
            _respond(request, 404, b"", "text/plain")
            return
        self._answers.put(request.rfile.read(int(length)))
        _respond(request, 200, b"", "text/plain")


def _respond(request: BaseHTTPRequestHandler, status: int, content: bytes, kind: str) -> None:
    try:
        request.send_response(status)
        for name, value in {"Content-Type": kind, "Cache-Control": "no-store", **ISOLATION}.items():
            request.send_header(name, value)
        if status != 204:
            request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if content:
            request.wfile.write(content)
    except OSError:
        # The browser is gone; whoever waits for its answer says so.
        request.close_connection = True


def _parsed(message: bytes) -> Answer:
    try:
        (length,) = _HEADER.unpack_from(message)
        header = parse_json(message[_HEADER.size : _HEADER.size + length])
    except (struct.error, ValueError) as exc:
        raise ToolError(f"the page in the browser answered what no agent does ({exc})") from exc
    if not isinstance(header, dict):
        raise ToolError("the page in the browser answered what no agent does")
    return Answer(header, message[_HEADER.size + length :])
