"""Runtimes of browsers as npm installs them: the files of each that a page takes, and their licences."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.errors import ToolError
from mnedge.foreign import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LARGEST_BYTES = 64 << 20


@dataclass(frozen=True)
class WebEngine:
    """A runtime for browsers.

    Attributes:
        title: Name in figures.
        packages: npm package by the version that is tested, the runtime's own first.
        files: Path below node_modules by the name that a page fetches it under.
        rewritten: Text in these files that names a package, by the text that names the file beside it instead:
            browsers resolve no packages.
        relaxed: Names of those that compute with relaxed vectors.
        modules: Names of the modules that a page imports.
        license: SPDX identifier of all its packages.
    """

    title: str
    packages: Mapping[str, str]
    files: Mapping[str, str]
    rewritten: Mapping[bytes, bytes]
    modules: tuple[str, ...]
    license: str
    relaxed: tuple[str, ...] = ()

    def read(self, modules: Path, name: str) -> bytes:
        """A file as a page takes it.

        Args:
            modules: Folder node_modules.
            name: A name of `files`.

        Raises:
            ToolError: It is not there.
        """
        path = modules / self.files[name]
        try:
            if path.stat().st_size > _LARGEST_BYTES:
                raise ToolError(f"{path} is larger than {_LARGEST_BYTES >> 20} MiB; {self.advice(modules)}")
            content = path.read_bytes()
        except OSError as exc:
            raise ToolError(f"{path} cannot be read ({exc.strerror}); {self.advice(modules)}") from exc
        if name.endswith((".js", ".mjs")):
            for text, other in self.rewritten.items():
                content = content.replace(text, other)
        return content

    def versions(self, modules: Path) -> dict[str, str]:
        """Installed version of each package.

        Raises:
            ToolError: One is not installed.
        """
        found = {}
        for package in self.packages:
            path = modules / package / "package.json"
            try:
                told = parse_json(path.read_bytes())
            except (OSError, ValueError) as exc:
                raise ToolError(f"{modules} has no {package}; {self.advice(modules)}") from exc
            version = told.get("version") if isinstance(told, dict) else None
            if not isinstance(version, str):
                raise ToolError(f"{path} says no version; {self.advice(modules)}")
            found[package] = version
        return found

    def advice(self, modules: Path) -> str:
        """The command that installs the runtime."""
        first, version = next(iter(self.packages.items()))
        prefix = modules.parent if modules.name == "node_modules" else modules
        return f"install it: npm install --prefix {json.dumps(str(prefix))} {first}@{version}"


_WASM = ("litert_wasm_internal", "litert_wasm_compat_internal", "litert_wasm_threaded_internal")
LITERT = WebEngine(
    title="LiteRT.js",
    packages={"@litertjs/core": "2.5.3", "@litertjs/wasm-utils": "2.5.3"},
    files={
        "index.js": "@litertjs/core/dist/index.js",
        "wasm-utils.js": "@litertjs/wasm-utils/dist/index.js",
        **{f"{stem}.{kind}": f"@litertjs/core/wasm/{stem}.{kind}" for stem in _WASM for kind in ("js", "wasm")},
    },
    rewritten={b'"@litertjs/wasm-utils"': b'"./wasm-utils.js"', b"//# sourceMappingURL=index.js.map": b""},
    modules=("index.js", "wasm-utils.js"),
    license="Apache-2.0",
    relaxed=("litert_wasm_internal.wasm", "litert_wasm_threaded_internal.wasm"),
)
ONNXRUNTIME = WebEngine(
    title="onnxruntime-web",
    packages={"onnxruntime-web": "1.30.0"},
    files={
        name: f"onnxruntime-web/dist/{name}"
        for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
    },
    rewritten={b"//# sourceMappingURL=ort.wasm.min.mjs.map": b""},
    modules=("ort.wasm.min.mjs",),
    license="MIT",
)
ENGINES = {"litert": LITERT, "onnxruntime": ONNXRUNTIME}
