"""A browser on this machine: `browser://chromium`; .tflite runs in LiteRT.js, .onnx in onnxruntime-web, both wasm.

Options behind `?`: modules=DIR, the node_modules that has them (or $MNEDGE_WEB_MODULES), program=PATH of the browser,
sandbox=off for containers where the browser's own does not start, silence_s=SECONDS.
"""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge import runtimes
from mnedge.devices import _uri
from mnedge.devices._chromium import Browser
from mnedge.devices._device import CutTimingError, DeviceTiming, ModelInfo, Sample
from mnedge.devices._web_modules import ENGINES, LITERT
from mnedge.errors import InputError, ToolError, UnsupportedError
from mnedge.results.device import BrowserFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mnedge.devices._device import LoadedModel
    from mnedge.devices._page import Answer
    from mnedge.devices._uri import DeviceUri
    from mnedge.devices._web_modules import WebEngine
    from mnedge.runtimes import TensorSpec
    from mnedge.untyped import AnyArray

MODULES = "MNEDGE_WEB_MODULES"
_OPTIONS = ("modules", "program", "sandbox", "silence_s")
_PROGRAMS = {
    "chromium": ("chromium", "chromium-browser"),
    "chrome": ("google-chrome", "google-chrome-stable", "chrome"),
}
# dtypes of tensors in LiteRT.js; int8 inside a model is none of its concern.
_LITERT_DTYPES = ("float32", "int32", "uint8")
_START_S = 120.0
_GROUP = 16
_GROUP_BYTES = 8 << 20
# A long timing is asked for in parts, so that a browser that ends leaves what it has measured.
_PART_S = 5.0


class BrowserDevice:
    """A browser without a window.

    Attributes:
        name: browser:// and which one.
        identity: The name.
        modules: Folder node_modules with the runtimes.
        program: Path of the browser.
        silence_s: Longest wait for one answer, seconds.
        interrupted: Set when nothing more shall be done.
    """

    def __init__(self, parts: DeviceUri, program: str, modules: Path) -> None:
        self.name = self.identity = parts.name
        self.modules, self.program = modules, program
        self.silence_s = parts.seconds("silence_s", 300.0)
        self.interrupted = threading.Event()
        # Chromium's sandbox is not for root, who is usual in containers.
        self._has_sandbox = parts.options.get("sandbox") != "off" and os.geteuid() != 0

    @contextmanager
    def load(self, path: Path, runtime: str = "") -> Iterator[LoadedModel]:
        """Loads an artifact in a browser of its own; `runtime` "" takes the one that loads such files.

        Raises:
            ToolError: The browser or its runtime is missing, or the browser ended.
            InputError: The runtime refuses the file.
        """
        with self._open(path, runtime, 1) as model:
            yield model

    def latency(
        self,
        path: Path,
        runtime: str = "",
        *,
        threads: int = 1,
        warmup_s: float = 0.5,
        runs: int = 50,
        seconds: float = 0.0,
    ) -> DeviceTiming:
        """Times an artifact in the browser, on noise; copying inputs in and outputs out counts, as in an app.

        Args:
            path: The artifact.
            runtime: Name of the runtime; "" for the one that loads such files.
            threads: Threads of the runtime.
            warmup_s: Time of warming up, seconds.
            runs: Fewest runs.
            seconds: Shortest time of measuring.

        Raises:
            ToolError: As in `load`.
            CutTimingError: The browser ended while it was timed; the error has the samples until then.
        """
        samples: list[Sample] = []
        with self._open(path, runtime, threads) as model:
            image = _noise(model.info.input).tobytes()
            model.time_ms(image, 1, warmup_s)
            at_s, left_s = 0.0, seconds
            try:
                while len(samples) < runs or left_s > 0:
                    for ms in model.time_ms(image, 1, min(_PART_S, max(left_s, 0.0))):
                        at_s += ms / 1e3
                        samples.append(Sample(ms, at_s))
                    left_s = seconds - at_s
            except ToolError as exc:
                raise CutTimingError(str(exc), samples) from exc
            return DeviceTiming(model.info, tuple(samples), None, model.notes)

    def facts(self) -> BrowserFacts:
        """Starts the browser and asks it for its version and vectors, and the folder for its runtimes.

        Raises:
            ToolError: The browser does not start.
        """
        packages: dict[str, str | None] = {}
        for engine in ENGINES.values():
            try:
                packages.update(engine.versions(self.modules))
            except ToolError:
                packages.update(dict.fromkeys(engine.packages))
        with closing(Browser(self.program, self.modules, has_sandbox=self._has_sandbox)) as browser:
            told = _Talk(self, browser).ask({"do": "look"}, b"", "telling its version").header
        cores = told.get("cores")
        return BrowserFacts(
            browser=_product(str(told.get("browser", ""))),
            program=self.program,
            modules=str(self.modules),
            packages=packages,
            cores=cores if isinstance(cores, int) else None,
            simd=told.get("simd") is True,
            relaxed_simd=told.get("relaxed_simd") is True,
            int8_dot=_dot(told),
            cross_origin_isolated=told.get("isolated") is True,
        )

    def interrupt(self) -> None:
        """Makes what another thread runs in the browser end soon."""
        self.interrupted.set()

    @contextmanager
    def _open(self, path: Path, runtime: str, threads: int) -> Iterator[_BrowserModel]:
        name = runtime or runtimes.for_file(path)
        if name not in ENGINES or (path.suffix == ".tflite") != (name == "litert"):
            raise UnsupportedError(
                f"{self.name}: {path.name} on {name!r}: a browser runs .tflite in litert and .onnx in onnxruntime"
            )
        engine = ENGINES[name]
        versions = engine.versions(self.modules)
        # Wasm runtimes tell neither scales nor, all of them, dtypes; the file is the same here.
        here = runtimes.open_session(name, path, 1)
        try:
            inputs, outputs = here.inputs, here.outputs
        finally:
            here.close()
        if len(inputs) != 1:
            raise UnsupportedError(f"{path.name} has {len(inputs)} inputs; a browser takes models with one")
        wrong = [spec for spec in (*inputs, *outputs) if engine is LITERT and spec.dtype not in _LITERT_DTYPES]
        if wrong:
            raise InputError(
                f"{path.name}: {wrong[0].name} is {wrong[0].dtype}, and LiteRT.js takes ends of "
                f"{', '.join(_LITERT_DTYPES)}; build it with --io uint8 or --io float32"
            )
        with closing(Browser(self.program, self.modules, has_sandbox=self._has_sandbox)) as browser:
            talk = _Talk(self, browser)
            answer = talk.ask(
                {"do": "load", "runtime": name, "threads": threads,
                 "input": {"dtype": inputs[0].dtype, "shape": inputs[0].shape}},
                path.read_bytes(), f"loading {path.name}",
            )  # fmt: skip
            notes = _notes(answer.header, engine, threads)
            version = f"{engine.title} {next(iter(versions.values()))} ({', '.join(_words(notes))})"
            info = ModelInfo(version, None, inputs[0], outputs)
            yield _BrowserModel(info, notes, talk, _order(outputs, answer.header.get("outputs"), path))


class _Talk:
    """The page's answers, each with an error that names device and work."""

    def __init__(self, device: BrowserDevice, browser: Browser) -> None:
        self._device, self._browser = device, browser
        self._answered(lambda: browser.page.hear(self._look, _START_S), "starting", _START_S)

    def ask(self, header: Mapping[str, object], payload: bytes, work: str, more_s: float = 0.0) -> Answer:
        """Gives work to the page.

        Raises:
            ToolError: The browser ended, hangs, or was interrupted.
            InputError: The page's runtime refuses it.
        """
        limit_s = self._device.silence_s + more_s
        page = self._browser.page
        answer = self._answered(lambda: page.ask(header, payload, self._look, limit_s), work, limit_s)
        if "error" in answer.header:
            raise InputError(f"{self._device.name}: the runtime gave up while {work}: {answer.header['error']}")
        return answer

    def _answered(self, hear: Callable[[], Answer], work: str, limit_s: float) -> Answer:
        try:
            return hear()
        except TimeoutError as exc:
            said = self._browser.last_words()
            raise ToolError(
                f"{self._device.name}: no answer within {limit_s:.0f} s while {work}{said and f': {said}'}; the page "
                "died or the machine is very slow: run this again, or allow more time with ?silence_s=SECONDS"
            ) from exc

    def _look(self) -> None:
        if self._device.interrupted.is_set():
            raise ToolError(f"{self._device.name}: interrupted")
        code = self._browser.process.poll()
        if code is not None:
            said = self._browser.last_words()
            advice = "pass ?sandbox=off in a container" if "sandbox" in said.lower() else "run this again"
            raise ToolError(f"{self._device.name}: the browser ended with status {code}: {said or 'no word'}; {advice}")


class _BrowserModel:
    def __init__(self, info: ModelInfo, notes: Mapping[str, object], talk: _Talk, order: Sequence[int]) -> None:
        self.info, self.notes = info, notes
        self._talk, self._order = talk, order

    def run(self, images: Iterable[AnyArray], count: int) -> Iterator[list[AnyArray]]:
        """Runs images one by one and gives all raw outputs of each, in order."""
        del count
        group: list[bytes] = []
        for image in images:
            group.append(np.ascontiguousarray(image, self.info.input.dtype).tobytes())
            if len(group) >= _GROUP or len(group) * len(group[0]) >= _GROUP_BYTES:
                yield from self._run(group)
                group = []
        if group:
            yield from self._run(group)

    def time_ms(self, image: bytes, runs: int, seconds: float) -> list[float]:
        """Milliseconds of each run: at least so many, and at least so many seconds."""
        answer = self._talk.ask({"do": "time", "runs": runs, "ms": seconds * 1e3}, image, "timing", seconds)
        ms = answer.header.get("ms")
        if not isinstance(ms, list) or not ms or not all(isinstance(one, (int, float)) and one >= 0 for one in ms):
            raise ToolError("the page in the browser tells no time; run this again")
        return [float(one) for one in ms]

    def _run(self, group: Sequence[bytes]) -> Iterator[list[AnyArray]]:
        answer = self._talk.ask({"do": "run", "count": len(group)}, b"".join(group), "running a picture")
        there = [self.info.outputs[place] for place in self._order]
        sizes = [int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in there]
        if len(answer.payload) != len(group) * sum(sizes):
            raise ToolError(
                f"the browser gave {len(answer.payload):,} bytes of outputs instead of {len(group) * sum(sizes):,}"
            )
        at = 0
        for _ in group:
            made: list[AnyArray] = [np.empty(0)] * len(there)
            for place, spec, size in zip(self._order, there, sizes, strict=True):
                values = np.frombuffer(answer.payload, spec.dtype, size // np.dtype(spec.dtype).itemsize, at)
                made[place] = values.reshape(spec.shape)
                at += size
            yield made


def connect(uri: str) -> BrowserDevice:
    """Finds a browser by URI; it is started when a model is loaded.

    Raises:
        InputError: The URI names no known browser, or has an unknown option.
        ToolError: The browser or the folder with its runtimes is missing.
    """
    parts = _uri.parse(uri, _OPTIONS)
    if parts.place not in _PROGRAMS:
        raise InputError.unknown("browser", parts.place, _PROGRAMS)
    named = parts.options.get("program")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, _PROGRAMS[parts.place])), None)
    if found is None:
        what = named or _PROGRAMS[parts.place][0]
        raise ToolError(f"{parts.name}: {what} not found; install it (apt install chromium), or name it with ?program=")
    given = parts.options.get("modules") or os.environ.get(MODULES)
    if not given:
        raise ToolError(
            f"{parts.name}: where are the browser's runtimes? npm install --prefix web "
            f"{' '.join(_pinned())}, then pass ?modules=web/node_modules or set {MODULES} to it"
        )
    modules = Path(given).expanduser()
    if not modules.is_dir():
        raise ToolError(f"{parts.name}: {modules} is no folder; {LITERT.advice(modules)}, then pass its node_modules")
    return BrowserDevice(parts, found, modules.absolute())


def _pinned() -> list[str]:
    return [f"{name}@{version}" for engine in ENGINES.values() for name, version in list(engine.packages.items())[:1]]


def _noise(spec: TensorSpec) -> AnyArray:
    """An input of noise, the same each time."""
    random = np.random.default_rng(0)
    kind = np.dtype(spec.dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        noise: AnyArray = random.integers(limits.min, limits.max + 1, spec.shape).astype(kind)
        return noise
    return random.uniform(-1, 1, spec.shape).astype(kind)


def _notes(told: Mapping[str, object], engine: WebEngine, threads: int) -> dict[str, object]:
    """Facts of the browser that belong beside a figure; SIMD is that of the module that computes."""
    listed = told.get("wasm")
    wasm = [str(name)[:100] for name in listed] if isinstance(listed, list) else []
    return {
        "browser": _product(str(told.get("browser", ""))),
        "wasm": ", ".join(wasm),
        "simd": told.get("simd") is True,
        "relaxed_simd": told.get("relaxed_simd") is True and any(name in engine.relaxed for name in wasm),
        "int8_dot": _dot(told),
        "threads": threads,
        "cross_origin_isolated": told.get("isolated") is True,
        "cores": told.get("cores"),
    }


def _dot(told: Mapping[str, object]) -> str | None:
    """Dot products of 8 bits that the page found, "signed" or "unsigned"; None if there are none."""
    found = told.get("int8_dot")
    return found if isinstance(found, str) and found in ("signed", "unsigned") else None


def _product(agent: str) -> str:
    """Name and version in a user agent, e.g. "Chromium 156"."""
    found = next((word for word in agent.split() if "Chrome/" in word), agent)
    return found.replace("Headless", "").replace("/", " ").removesuffix(".0.0.0")[:80]


def _words(notes: Mapping[str, object]) -> list[str]:
    """Facts that change outputs or times, for the runtime's version."""
    vectors = "relaxed SIMD" if notes["relaxed_simd"] else "SIMD" if notes["simd"] else "no SIMD"
    dot = "int8 dot product" if notes["int8_dot"] else "no int8 dot product"
    return [f"wasm, {vectors}, {dot}", str(notes["browser"])]


def _order(outputs: Sequence[TensorSpec], told: object, path: Path) -> list[int]:
    """Place in the file of each output that the page gives.

    Raises:
        UnsupportedError: The page's outputs cannot be told apart.
    """
    rows = told if isinstance(told, list) else []
    names = [spec.name for spec in outputs]
    found: list[int] = []
    for row in rows:
        name, kind, shape = (
            (row.get(key) for key in ("name", "dtype", "shape")) if isinstance(row, dict) else (None,) * 3
        )
        alike = [place for place, spec in enumerate(outputs) if (kind, shape) == (spec.dtype, list(spec.shape))]
        found += [names.index(name)] if name in names else alike if len(alike) == 1 else [-1]
    if sorted(found) != list(range(len(outputs))):
        raise UnsupportedError(
            f"{path.name}: the runtime in the browser calls its outputs "
            f"{', '.join(str(row.get('name')) for row in rows if isinstance(row, dict))}, which cannot be told apart; "
            f"the file has {', '.join(names)}"
        )
    return found
