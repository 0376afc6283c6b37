"""The web: a static folder with a page, a module for one's own page, the model, and the runtime in wasm."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge import runtimes
from mnedge.bundles._app import SHIPPED, app_of, lacking
from mnedge.bundles._bundle import Bundle
from mnedge.data.detections import METADATA, of_metadata
from mnedge.devices._web_modules import ENGINES, WebEngine
from mnedge.errors import InputError, UnsupportedError
from mnedge.files import files_of
from mnedge.formats.tflite_read import parse_tflite
from mnedge.pixels import CHANNELS
from mnedge.runtimes import TensorSpec
from mnedge.runtimes._runtime import encode, takes_pixels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mnedge.bundles._bundle import Parts
    from mnedge.pixels import Pixels

_WEB = SHIPPED / "_web"
_DTYPES = ("float32", "int32", "uint8")
# Scripts, workers and data of this folder alone; wasm is compiled, and no text is run as a script.
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
    "style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; base-uri 'none'; form-action 'none'"
)
_HEADERS = f"""/*
  Content-Security-Policy: {_POLICY}; frame-ancestors 'self'
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
  Permissions-Policy: camera=(self)
  Referrer-Policy: no-referrer
  X-Content-Type-Options: nosniff
"""

_README = """# @SLUG@ for the web

A static folder: put it on any web server, at any path. Pictures stay in the browser.
@START@
| file | what it is |
|---|---|
| `index.html`, `app.js`, `style.css` | a page: a picture from a file, the clipboard, the camera or `?picture=ADDRESS` |
| `mnedge.js`, `mnedge.d.ts` | the module for your own page; `task.js`, `engine.js`, `pixels.js` belong to it |
| `@MODEL@`, `model.json`, `labels.txt` | the model, what a picture is to it, and the names of its classes |
| `runtime/` | @ENGINE@ and its licence |
| `sw.js` | keeps the page on the machine, so that it works offline after the first visit |
| `_headers` | headers, for hosts that read this file; without the two Cross-Origin ones there is 1 thread |

    import { load } from "./mnedge.js";
    const model = await load();
    const { answer, ms } = await model.run(file);  // a File, an <img>, a <canvas>, a <video>, …

Browsers load modules from http and https, not from file:. `python3 -m http.server` in this folder serves it here.
"""
_NO_RUNTIME = """
The runtime is not in it yet: `npm install && npm run vendor` puts it to `runtime/` with the version of package.json, or
`mnedge bundle web --with-runtime node_modules` does.
"""


@dataclass(frozen=True)
class _Model:
    """The model of a page: its bytes, and its ends as the page's module takes them."""

    name: str
    content: bytes
    source: TensorSpec
    outputs: tuple[TensorSpec, ...]
    pixels: Pixels
    detection: Mapping[str, object] | None


def _write(parts: Parts, folder: Path) -> None:
    app = app_of(parts)
    if app.web is None:
        raise lacking(parts, "page for the web")
    is_unnamed = app.has_labels and not parts.labels
    if is_unnamed or (app.names_classes and parts.head in ("numbers", "map")):
        raise UnsupportedError(
            f"{parts.slug} gives {parts.head} without labels, and the page says names of classes; build the model with "
            "--labels, or ship the file itself"
        )
    name = "onnxruntime" if parts.runtime == "onnx" else "litert"
    engine, model = ENGINES[name], _onnx(parts) if name == "onnxruntime" else _tflite(parts)
    words = {"@TITLE@": parts.slug, "@POLICY@": _POLICY, "@MODEL@": model.name, "@RUNTIME@": _preloads(parts, engine)}
    texts = {
        "index.html": _filled("index.html", words),
        **{own: _text(own) for own in ("app.js", "icon.svg", "style.css", "mnedge.js", "mnedge.d.ts", "pixels.js")},
        "task.js": _text(f"{app.web}.js"),
        "task.d.ts": _text(f"{app.web}.d.ts"),
        "engine.js": _text(f"engine_{name}.js"),
        "labels.txt": parts.labels_text,
        "model.json": json.dumps(_about(parts, model), indent=1) + "\n",
    }
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    (folder / model.name).write_bytes(model.content)
    if parts.modules is not None:
        _copy_runtime(engine, parts.modules, folder / "runtime")
    else:
        for file, text in _vendoring(parts, engine).items():
            (folder / file).write_text(text, encoding="utf-8")
    stored = ["./", *sorted([*texts, model.name])]
    worker = _text("sw.js").replace("@FILES@", json.dumps(stored, indent=2))
    (folder / "sw.js").write_text(worker.replace("@VERSION@", f"{parts.slug}-{_digest(folder)}"), encoding="utf-8")
    (folder / "_headers").write_text(_HEADERS, encoding="utf-8")
    readme = _README.replace("@START@", "" if parts.modules is not None else _NO_RUNTIME).replace("@SLUG@", parts.slug)
    (folder / "README.md").write_text(
        readme.replace("@MODEL@", model.name).replace("@ENGINE@", engine.title), encoding="utf-8"
    )


def _tflite(parts: Parts) -> _Model:
    """The .tflite with uint8 ends, since LiteRT.js has no int8 arrays."""
    content = parts.tflite("uint8")
    graph = parse_tflite(content, parts.slug)
    specs = [
        TensorSpec(name, graph.tensors[name].shape, graph.tensors[name].dtype, graph.tensors[name].quantization)
        for name in (*graph.inputs, *graph.outputs)
    ]
    wrong = next((spec for spec in specs if spec.dtype not in _DTYPES), None)
    if wrong is not None:
        raise UnsupportedError(
            f"{wrong.name} of {parts.slug} is {wrong.dtype}, and LiteRT.js takes {', '.join(_DTYPES)}; take "
            "--runtime onnx"
        )
    anchors = graph.metadata.get(METADATA)
    detection = None if anchors is None else of_metadata(anchors).as_json()
    return _Model(f"{parts.slug}.int8.tflite", content, specs[0], tuple(specs[1:]), parts.pixels, detection)


def _onnx(parts: Parts) -> _Model:
    if parts.onnx is None:
        raise InputError(f"the build of {parts.slug} has no int8 .onnx; build it with --target web")
    session = runtimes.open_session("onnxruntime", parts.onnx, 1)
    try:
        source, outputs = session.input, session.outputs
    finally:
        session.close()
    pixels = parts.onnx_pixels()
    if source.dtype != "float32" or source.shape[-1] != CHANNELS[pixels.order]:
        shape = "x".join(map(str, source.shape))
        raise UnsupportedError(
            f"the .onnx of {parts.slug} takes {source.dtype} of {shape}; the page gives float32 with the channels "
            "last: take --runtime litert"
        )
    anchors = parse_tflite(parts.tflite("uint8"), parts.slug).metadata.get(METADATA)
    detection = None if anchors is None else of_metadata(anchors).as_json()
    return _Model(f"{parts.slug}.int8.onnx", parts.onnx.read_bytes(), source, outputs, pixels, detection)


def _about(parts: Parts, model: _Model) -> dict[str, object]:
    """model.json; the page's module does no arithmetic of scales of its own, it looks pixels up."""
    height, width = parts.size
    prepared = {name: value for name, value in parts.described_input.items() if name != "pixels"}
    return {
        "model": model.name,
        "task": parts.task,
        "head": parts.head,
        **parts.told_threshold,
        **prepared,
        "height": height,
        "width": width,
        "order": model.pixels.order,
        "input": {"dtype": model.source.dtype, "shape": list(model.source.shape), "table": _table(model)},
        "outputs": [
            {
                "name": spec.name,
                "shape": list(spec.shape),
                "scale": None if spec.quantization is None else float(spec.quantization.scale[0]),
                "zero_point": None if spec.quantization is None else int(spec.quantization.zero_point[0]),
            }
            for spec in model.outputs
        ],
        **({} if model.detection is None else {"detection": model.detection}),
    }


def _table(model: _Model) -> list[list[float]] | None:
    """Inputs for the 256 pixel values as the model encodes them, a row a channel; None where it takes the pixel."""
    spec, pixels = model.source, model.pixels
    if spec.dtype == "uint8" and takes_pixels(spec, pixels):
        return None
    channels = CHANNELS[pixels.order]
    values = np.repeat(np.arange(256, dtype=np.uint8)[:, None], channels, axis=1)
    rows: list[list[float]] = encode(values, spec, pixels).T.tolist()
    return rows


def _copy_runtime(engine: WebEngine, modules: Path, folder: Path) -> None:
    versions = engine.versions(modules)
    folder.mkdir()
    for name in engine.files:
        (folder / name).write_bytes(engine.read(modules, name))
    named = "".join(f"{package} {version}, from npm\n" for package, version in versions.items())
    changed = "".join(
        f"Changed: {one.decode()} is {other.decode() or 'left out'} here.\n" for one, other in engine.rewritten.items()
    )
    text = f"{named}Licence: {engine.license}\n{changed}\n{_text(f'{engine.license}.txt')}"
    (folder / "LICENSE.txt").write_text(text, encoding="utf-8")


def _vendoring(parts: Parts, engine: WebEngine) -> dict[str, str]:
    """Files with which npm gets the runtime."""
    package = {
        "name": parts.slug.lower(),
        "version": "0.0.0",
        "private": True,
        "type": "module",
        "scripts": {"vendor": "node vendor.mjs"},
        "dependencies": dict(engine.packages),
    }
    rewritten = {one.decode(): other.decode() for one, other in engine.rewritten.items()}
    script = _text("vendor.mjs").replace("@FILES@", json.dumps(engine.files, indent=2))
    return {
        "package.json": json.dumps(package, indent=2) + "\n",
        "vendor.mjs": script.replace("@REWRITTEN@", json.dumps(rewritten, indent=2)),
    }


def _preloads(parts: Parts, engine: WebEngine) -> str:
    """Lines of the page that fetch the runtime's modules before a script asks for them; none without a runtime."""
    names = [] if parts.modules is None else [name for name in engine.files if name in engine.modules]
    return "".join(f'    <link rel="modulepreload" href="runtime/{name}">\n' for name in names)


def _filled(name: str, words: Mapping[str, str]) -> str:
    text = _text(name)
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def _digest(folder: Path) -> str:
    """Changes with every file of the page, so that browsers fetch what is new."""
    found = hashlib.sha256()
    for path in files_of(folder):
        found.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def _text(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")


BUNDLE = Bundle(write=_write, has_archive=True, takes_modules=True)
