"""The web bundle in a real Chromium: pixels and scores are mnedge's; the page works with keys, and offline."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from PIL import Image

from mnedge.bundles import raspberry_pi, web
from mnedge.data.detections import METADATA as DETECTION
from mnedge.data.detections import Decoding, metadata_of
from mnedge.data.preprocess import Fit, Interpolation, Preprocessing, read_pixels
from mnedge.errors import InputError, ToolError, UnsupportedError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.passes import detection_postprocess
from mnedge.pixels import METADATA as PIXELS
from mnedge.pixels import SYMMETRIC
from mnedge.quantization.io import with_io
from mnedge.runtimes import open_session
from mnedge.workflows.bundle import bundle
from tests.chromium import Tab, chromium, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mnedge.bundles._bundle import Parts

_SIDE = 48
_ANCHORS = Decoding(((2, 2),), np.array([[[0.4, 0.4], [0.6, 0.3]]], np.float32), least_score=0.3)
_PAGE = ("index.html", "app.js", "mnedge.js", "pixels.js", "task.js", "engine.js", "model.json", "labels.txt")


def _headers(folder: Path) -> dict[str, str]:
    """What a host that reads _headers sends."""
    first, *lines = (folder / "_headers").read_text().splitlines()
    assert first == "/*"
    return dict(line.strip().split(": ", 1) for line in lines)


def _noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def _net(task: str) -> Graph:
    """An int8 network of one or two convolutions that see all of a picture, with the ends of a task."""
    random = np.random.default_rng(8)
    side = _SIDE
    tensors = [Tensor("picture", (1, side, side, 3), "int8", Quantization.per_tensor(1 / 127.5, -1))]
    ops: list[Op] = []

    def convolved(name: str, channels: int, kernel: int, stride: int, scale: float) -> str:
        weights = random.integers(-127, 128, (channels, kernel, kernel, 3)).astype(np.int8)
        step = np.full(channels, 127.5 * 3 / (73 * 73 * kernel * 3**0.5), np.float32)
        tensors.append(constant(f"{name}_w", weights, Quantization.per_channel(step, 0)))
        bias = Quantization.per_channel(step * np.float32(1 / 127.5), 0)
        tensors.append(constant(f"{name}_b", np.zeros(channels, np.int32), bias))
        extent = (side - kernel) // stride + 1
        tensors.append(Tensor(name, (1, extent, extent, channels), "int8", Quantization.per_tensor(scale, 0)))
        options = {"stride_h": stride, "stride_w": stride, "padding": "VALID", "activation": "NONE"}
        ops.append(Op("CONV_2D", ("picture", f"{name}_w", f"{name}_b"), (name,), options))
        return name

    def made(kind: str, source: str, name: str, shape: tuple[int, ...], end: Quantization, *more: str) -> str:
        tensors.append(Tensor(name, shape, "int8", end))
        ops.append(Op(kind, (source, *more), (name,), {"beta": 1.0} if kind == "SOFTMAX" else {}))
        return name

    def flat(source: str, name: str, shape: tuple[int, ...], scale: float) -> str:
        tensors.append(constant(f"{name}_shape", np.array(shape, np.int32)))
        return made("RESHAPE", source, name, shape, Quantization.per_tensor(scale, 0), f"{name}_shape")

    shares = Quantization.per_tensor(1 / 256, -128)
    metadata = {PIXELS: SYMMETRIC.to_bytes()}
    if task == "classify":
        logits = flat(convolved("all", 5, side, 1, 0.1), "logits", (1, 5), 0.1)
        outputs = [made("SOFTMAX", logits, "shares", (1, 5), shares)]
    elif task == "segment":
        outputs = [convolved("map", 3, 8, 8, 0.1)]
    elif task == "embed":
        outputs = [flat(convolved("all", 6, side, 1, 0.1), "vector", (1, 6), 0.1)]
    else:
        anchors = _ANCHORS.anchors.shape[0]
        sure = flat(convolved("sure", 2 * anchors, side, 1, 0.1), "logits", (1, anchors, 2), 0.1)
        codes = flat(convolved("codes", 4 * anchors, side, 1, 0.1), "boxes", (1, anchors, 4), 0.1)
        outputs = [made("LOGISTIC", sure, "scores", (1, anchors, 2), shares), codes]
        metadata[DETECTION] = metadata_of(_ANCHORS)
    return Graph(
        {tensor.name: tensor for tensor in tensors}, tuple(ops), ("picture",), tuple(outputs), metadata=metadata
    )


def _parts(parts_of: Callable[..., Parts], task: str, **more: Any) -> Parts:
    graph = _net(task)
    values: dict[str, Any] = {
        "slug": "net", "task": task, "size": (_SIDE, _SIDE), "head": "softmax" if task == "classify" else "numbers",
        "labels": ("ant", "bee", "cat", "dog", "eel")[: {"classify": 5, "segment": 3, "detect": 2, "embed": 0}[task]],
        "preprocessing": {"crop_fraction": 0.875 if task == "classify" else 1.0, "interpolation": "bilinear",
                          "fit": "crop" if task == "classify" else "stretch"},
        "tflite": lambda io: write_tflite(with_io(graph, io)),
    }  # fmt: skip
    return parts_of(**{**values, **more})


@pytest.fixture(scope="module")
def pages(
    parts_of: Callable[..., Parts], web_modules: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A page with each runtime, and pictures beside it."""
    root = tmp_path_factory.mktemp("web")
    (root / "net.onnx").write_bytes(write_onnx(_net("classify")))
    made = {}
    for runtime in ("litert", "onnx"):
        page = made[runtime] = root / runtime
        page.mkdir()
        parts = _parts(parts_of, "classify", runtime=runtime, onnx=root / "net.onnx", modules=web_modules)
        web.BUNDLE.write(parts, page)
        pictures = page / "pictures"
        pictures.mkdir()
        Image.fromarray(_noise(1, 171, 233, 3)).save(pictures / "large.png")
        Image.fromarray(_noise(2, 20, 31, 3)).save(pictures / "small.png")
        Image.fromarray(_noise(3, 48, 48, 3)).save(pictures / "own-size.png")
        Image.fromarray(_noise(4, 90, 64)).save(pictures / "grey.png")
        # Rounding of half-transparent colours is the browser's.
        Image.fromarray(_noise(5, 90, 64, 4)).save(pictures / "clear.png")
        photo = Image.fromarray(_noise(6, 12, 16, 3)).resize((320, 240), Image.Resampling.BICUBIC)
        turned = Image.Exif()
        turned[0x0112] = 6
        photo.save(pictures / "turned.jpg", exif=turned, quality=90)
    return made


@pytest.fixture(scope="module")
def tab(web_modules: Path) -> Iterator[Tab]:
    del web_modules
    with chromium() as opened:
        yield opened


def _ready(tab: Tab, url: str) -> None:
    # The page before this one may still ask its host, which is gone.
    tab.open("about:blank")
    tab.events.clear()
    tab.open(url)
    tab.wait("document.body?.dataset.ready")


def _pixels(tab: Tab, name: str, settings: dict[str, Any]) -> np.ndarray:
    about = json.dumps(settings)
    script = f"""(async () => {{
      const {{ pixelsOf }} = await import("./pixels.js");
      const blob = await (await fetch("pictures/{name}")).blob();
      return Array.from((await pixelsOf(blob, {about})).pixels);
    }})()"""
    return np.array(tab.run(script), np.uint8)


def test_pixels_and_scores_are_mnedges(pages: dict[str, Path], tab: Tab) -> None:
    for runtime, page in pages.items():
        about = json.loads((page / "model.json").read_text())
        prepared = Preprocessing(about["crop_fraction"], about["interpolation"], about["fit"])
        name = "litert" if runtime == "litert" else "onnxruntime"
        session = open_session(name, page / about["model"], 1)
        with served(page, _headers(page)) as url:
            _ready(tab, url)
            # Chromium takes grey through a colour profile, and has a JPEG decoder of its own.
            for picture, most in (("large.png", 0), ("small.png", 0), ("grey.png", 1), ("turned.jpg", 2)):
                expected = read_pixels(page / "pictures" / picture, (about["height"], about["width"]), prepared)
                found = _pixels(tab, picture, about).reshape(expected.shape)
                assert np.abs(found.astype(int) - expected).max() <= most, (runtime, picture)
                said = tab.run(f"""(async () => {{
                  const {{ load }} = await import("./mnedge.js");
                  globalThis.model ??= await load();
                  const made = await model.outputs(Uint8Array.from({found.ravel().tolist()}));
                  return [model.threads, Array.from(made[0])];
                }})()""")
                assert said[0] > 1
                table = about["input"]["table"]
                taken = (
                    found
                    if table is None
                    else np.stack([np.array(row)[found[..., at]] for at, row in enumerate(table)], -1)
                )
                host = session.run(taken[None].astype(about["input"]["dtype"]))[0].astype(np.float64)
                step = about["outputs"][0]["scale"]
                if step is not None:
                    host = (host - about["outputs"][0]["zero_point"]) * step
                np.testing.assert_allclose(said[1], host.ravel(), atol=step or 1e-2)


def test_every_way_of_resizing_is_pillows(pages: dict[str, Path], tab: Tab) -> None:
    page = pages["litert"]
    about = json.loads((page / "model.json").read_text())
    with served(page, _headers(page)) as url:
        _ready(tab, url)
        for interpolation in get_args(Interpolation):
            shapes: list[tuple[Fit, float, tuple[int, int]]] = [
                ("crop", 0.875, (48, 64)), ("stretch", 1.0, (33, 20)), ("crop", 1.0, (48, 48)),
            ]  # fmt: skip
            for fit, crop, size in shapes:
                for picture in ("large.png", "small.png", "own-size.png"):
                    told = {"interpolation": interpolation, "fit": fit, "crop_fraction": crop}
                    found = _pixels(tab, picture, {**about, **told, "height": size[0], "width": size[1]})
                    expected = read_pixels(page / "pictures" / picture, size, Preprocessing(crop, interpolation, fit))
                    assert np.array_equal(found, expected.ravel()), (told, picture)
        whole = {**about, "crop_fraction": 1.0, "height": 90, "width": 64, "fit": "stretch"}
        clear = read_pixels(page / "pictures" / "clear.png", (90, 64), Preprocessing(1.0, "bilinear", "stretch"))
        assert np.abs(_pixels(tab, "clear.png", whole).astype(int) - clear.ravel()).max() <= 1


def test_the_page_answers_and_asks_nobody_else(pages: dict[str, Path], tab: Tab) -> None:
    page = pages["litert"]
    with served(page, _headers(page)) as url:
        _ready(tab, f"{url}?picture=pictures/large.png")
        labels = (page / "labels.txt").read_text().split("\n")
        assert tab.run("document.querySelector('#answers li span').textContent") in labels
        tab.choose("#file", page / "pictures" / "grey.png")
        tab.wait("document.querySelector('#picture').width === 64")
        assert "ms" in tab.run("document.querySelector('#facts').innerText")
        (page / "pictures" / "broken.png").write_bytes(b"no picture")
        tab.choose("#file", page / "pictures" / "broken.png")
        tab.wait("document.querySelector('#status.wrong')?.textContent.startsWith('This picture cannot be read')")
        assert tab.hosts() == {url.split("/")[2]}
        assert tab.faults() == []


def test_a_browser_without_relaxed_vectors_computes_on_one_thread(pages: dict[str, Path], tab: Tab) -> None:
    # As Safari: threads, but no relaxed vectors, without which LiteRT.js has no threads.
    script = """
      const { validate, instantiate } = WebAssembly;
      const relaxed = (bytes) => bytes.byteLength === 36;
      WebAssembly.validate = (bytes) => !relaxed(bytes) && validate(bytes);
      WebAssembly.instantiate = (bytes, ...more) =>
        bytes instanceof Uint8Array ? Promise.reject(new Error("no relaxed vectors")) : instantiate(bytes, ...more);
    """
    page = pages["litert"]
    added = tab.ask("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]
    try:
        with served(page, _headers(page)) as url:
            _ready(tab, f"{url}?picture=pictures/large.png")
            assert "1 thread" in tab.run("document.querySelector('#facts').innerText")
            fetched = tab.run("performance.getEntriesByType('resource').map(({ name }) => name.split('/').pop())")
            assert [name for name in fetched if name.endswith(".wasm")] == ["litert_wasm_compat_internal.wasm"]
            assert tab.faults() == []
            told = tab.run("""import("./mnedge.js").then(({ load }) => load({ threads: 2 })).catch(String)""")
            assert "this browser has no relaxed SIMD" in told
    finally:
        tab.ask("Page.removeScriptToEvaluateOnNewDocument", identifier=added)


def test_hosts_that_name_no_kinds_of_files(pages: dict[str, Path], tab: Tab) -> None:
    page = pages["litert"]
    with served(page, _headers(page), kinds={".wasm": "application/octet-stream"}) as url:
        _ready(tab, f"{url}?picture=pictures/large.png")
        assert tab.run("document.querySelectorAll('#answers li').length") > 0
        assert tab.faults() == []


def test_keys_and_the_camera(pages: dict[str, Path], tab: Tab) -> None:
    page = pages["litert"]
    with served(page, _headers(page)) as url:
        _ready(tab, url)
        tab.press("Tab", 9)
        assert tab.run("document.activeElement.id") == "file"
        tab.press("Tab", 9)
        assert tab.run("document.activeElement.id") == "camera"
        assert tab.run("getComputedStyle(document.activeElement).outlineWidth") == "3px"
        tab.press(" ", 32, " ")
        tab.wait("document.querySelector('#camera').getAttribute('aria-pressed') === 'true'")
        tab.wait("document.querySelectorAll('#answers li').length")
        tab.press("Enter", 13, "\r")
        tab.wait("document.querySelector('#status').textContent === 'The camera is off'")
        assert tab.faults() == []


_USE = """
import { load, pixelsOf, type About, type Answer, type Model, type Picture, type Result } from "./mnedge.js";

const model: Model = await load({ threads: 1 });
const about: About = model.about;
const picture: Picture = await pixelsOf(document.querySelector("canvas")!, about);
const [first]: Float32Array[] = await model.outputs(picture.pixels);
const { answer, ms, all_ms, width, height }: Result = await model.run(new Blob());
const told: Answer = answer;
console.log(first?.length, told, ms + all_ms + width * height, model.labels[0]?.length, model.threads + 1);
"""
_USES = {
    "classify": "const [best] = (await model.run(new ImageData(2, 2), { top: 3 })).answer; best?.label.at(best.index);",
    "detect": "for (const { label, box } of (await model.run(new Blob(), { least: 0.3 })).answer) label.at(box[3]);",
    "segment": "const { mask, shares } = (await model.run(new Blob())).answer; mask.at(shares[0]!.fraction);",
    "embed": "import { similarity } from './task.js'; const alike: number = similarity(answer, answer);",
}


def test_typescript_takes_the_types_as_the_module_is(
    parts_of: Callable[..., Parts], web_modules: Path, tmp_path: Path
) -> None:
    node, compiler = shutil.which("node"), web_modules / "typescript" / "bin" / "tsc"
    if node is None or not compiler.is_file():
        pytest.skip(f"no TypeScript in {web_modules}: npm install typescript@5")
    for task, use in _USES.items():
        page = tmp_path / task
        page.mkdir()
        web.BUNDLE.write(_parts(parts_of, task), page)
        about = (page / "model.json").read_text()
        made = f'import type {{ About }} from "./mnedge.js";\nexport const about: About = {about};'
        for name, text in {"use": _USE + use, "about": made, "wrong": f"{_USE}answer + about;"}.items():
            (page / f"{name}.ts").write_text(text)
    settings = {"noEmit": True, "strict": True, "target": "es2022", "module": "es2022", "moduleResolution": "bundler",
                "noUncheckedIndexedAccess": True, "skipDefaultLibCheck": True, "types": []}  # fmt: skip
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": settings}))
    done = subprocess.run([node, compiler], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=300)
    found = {line.partition("(")[0] for line in done.stdout.splitlines() if " error " in line}
    assert found == {f"{task}/wrong.ts" for task in _USES}, done.stdout
    # The types declare what the module has.
    script = 'import("./embed/mnedge.js").then((module) => console.log(Object.keys(module).sort().join()))'
    (tmp_path / "package.json").write_text('{"type": "module"}')
    said = subprocess.run([node, "-e", script], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60)
    assert said.stdout.strip() == "Model,load,pixelsOf"


def test_axe_finds_nothing(pages: dict[str, Path], tab: Tab, web_modules: Path, tmp_path: Path) -> None:
    axe = web_modules / "axe-core" / "axe.min.js"
    if not axe.is_file():
        pytest.skip(f"no axe-core in {web_modules}: npm install axe-core")
    page = pages["litert"]
    with served(page, _headers(page)) as url:
        _ready(tab, f"{url}?picture=pictures/large.png")
        tab.run(axe.read_text() + "\n;0")
        for width, height, dark in ((1280, 800, False), (390, 844, False), (1280, 800, True), (320, 640, True)):
            tab.look(tmp_path / "page.png", width, height, dark=dark)
            found = tab.run(
                "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes[0].html]))"
            )
            assert found == [], (width, dark)
            assert tab.run("document.documentElement.scrollWidth <= innerWidth"), width


def test_the_page_works_offline_after_the_first_visit(pages: dict[str, Path], tab: Tab) -> None:
    page = pages["litert"]
    with served(page, _headers(page)) as url:
        _ready(tab, url)
        tab.wait("caches.match('runtime/litert_wasm_threaded_internal.wasm').then(Boolean)")
    _ready(tab, url)
    tab.choose("#file", page / "pictures" / "small.png")
    tab.wait("document.querySelectorAll('#answers li').length")


def test_without_a_runtime_npm_brings_the_same(
    parts_of: Callable[..., Parts], pages: dict[str, Path], tab: Tab, web_modules: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page"
    page.mkdir()
    web.BUNDLE.write(_parts(parts_of, "classify"), page)
    with served(page, _headers(page)) as url:
        tab.open(url)
        tab.wait("document.querySelector('#status.wrong')?.textContent.startsWith('The model does not load')")
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node: apt-get install nodejs")
    (page / "node_modules").symlink_to(web_modules.absolute())
    subprocess.run([node, "vendor.mjs"], cwd=page, check=True, timeout=120)
    names = {path.name for path in (pages["litert"] / "runtime").iterdir()} - {"LICENSE.txt"}
    assert {path.name for path in (page / "runtime").iterdir()} == names
    for name in names:
        assert (page / "runtime" / name).read_bytes() == (pages["litert"] / "runtime" / name).read_bytes(), name


def test_the_same_build_gives_the_same_bytes_and_no_inline_code(built: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        bundle(built, "web", tmp_path / name)
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    text = (tmp_path / "one" / "index.html").read_text()
    assert all((tmp_path / "one" / name).is_file() for name in _PAGE)
    assert "unsafe-inline" not in text + (tmp_path / "one" / "_headers").read_text()
    assert " style=" not in text
    assert "<script>" not in text
    assert "@" not in text


def test_a_runtime_for_another_kind_and_one_that_is_not_there(built: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no runtime of npm's; --with-runtime is for web"):
        bundle(built, "raspberry-pi", tmp_path / "pi", modules=tmp_path)
    with pytest.raises(ToolError, match=r"has no @litertjs/core; install it: npm install --prefix"):
        bundle(built, "web", tmp_path / "web", modules=tmp_path)
    assert not (tmp_path / "web").exists()


def test_heads_that_have_no_page(parts_of: Callable[..., Parts], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="gives numbers without labels"):
        web.BUNDLE.write(parts_of(head="numbers"), tmp_path)
    with pytest.raises(UnsupportedError, match="gives numbers without labels"):
        web.BUNDLE.write(parts_of(task="segment", head="numbers", labels=()), tmp_path)
    with pytest.raises(InputError, match=r"no int8 \.onnx; build it with --target web"):
        web.BUNDLE.write(parts_of(runtime="onnx"), tmp_path)


@pytest.mark.parametrize(
    ("task", "inside"), [("detect", False), ("detect", True), ("segment", False)], ids=["boxes", "objects", "masks"]
)
def test_objects_and_masks_are_those_of_the_program_for_boards(
    task: str, inside: bool, parts_of: Callable[..., Parts], tab: Tab, web_modules: Path, tmp_path: Path
) -> None:
    graph = detection_postprocess.apply(_net(task)) if inside else _net(task)
    page, board = tmp_path / "page", tmp_path / "board"
    for folder, kind in ((page, web), (board, raspberry_pi)):
        folder.mkdir()
        more = {"modules": web_modules, "tflite": lambda io: write_tflite(with_io(graph, io))}
        kind.BUNDLE.write(_parts(parts_of, task, **more), folder)
    picture = page / "picture.png"
    Image.fromarray(_noise(9, 64, 64, 3)).save(picture)
    least = ("--least", "0.3") if task == "detect" else ()
    argv = [sys.executable, str(board / f"{task}.py"), "--json", *least, str(picture)]
    said = json.loads(subprocess.run(argv, check=True, capture_output=True, timeout=120).stdout)
    with served(page, _headers(page)) as url:
        _ready(tab, f"{url}?picture=picture.png")
        found = tab.run("""(async () => {
          const { load } = await import("./mnedge.js");
          const blob = await (await fetch("picture.png")).blob();
          return (await (await load({ threads: 1 })).run(blob, { least: 0.3 })).answer;
        })()""")
        rows = tab.run("document.querySelectorAll('#answers li').length")
        assert tab.faults() == []
    if task == "detect":
        assert rows > 0
        for one, other in zip(found, said["objects"], strict=True):
            assert (one["label"], one["score"]) == (other["label"], pytest.approx(other["score"], abs=1e-6))
            assert one["box"] == pytest.approx(other["box"], abs=1e-3)
    else:
        shares = {one["label"]: one["fraction"] for one in found["shares"]}
        assert rows == sum(share > 0 for share in shares.values()) > 1
        for one in said["classes"]:
            # The program enlarges scores to the picture before it compares them.
            assert shares[one["label"]] == pytest.approx(one["fraction"], abs=0.1)


def test_embeddings_are_those_of_the_program_for_boards_and_compared_with_the_pictures_before(
    parts_of: Callable[..., Parts], tab: Tab, web_modules: Path, tmp_path: Path
) -> None:
    page, board = tmp_path / "page", tmp_path / "board"
    for folder, kind in ((page, web), (board, raspberry_pi)):
        folder.mkdir()
        kind.BUNDLE.write(_parts(parts_of, "embed", modules=web_modules), folder)
    pictures = [page / f"{name}.png" for name in ("one", "two", "three")]
    for seed, picture in enumerate(pictures):
        Image.fromarray(_noise(seed, 64, 64, 3)).save(picture)
    argv = [sys.executable, str(board / "embed.py"), "--json", *map(str, pictures)]
    lines = subprocess.run(argv, check=True, capture_output=True, timeout=120).stdout.splitlines()
    first, *others = map(json.loads, lines)
    with served(page, _headers(page)) as url:
        _ready(tab, f"{url}?picture=one.png")
        assert tab.run("document.querySelector('#status').textContent").startswith("the first picture")
        for place, picture in enumerate(pictures[1:], 1):
            tab.choose("#file", picture)
            tab.wait(f"document.querySelectorAll('#answers li').length === {place}")
        rows = tab.run("Array.from(document.querySelectorAll('#answers li'), (row) => row.innerText.split('\\n'))")
        last = np.array(others[1]["embedding"])
        alike = {"picture 1": others[1]["similarity"], "picture 2 (two.png)": float(last @ others[0]["embedding"])}
        assert dict(rows) == {name: f"{value:.3f}" for name, value in alike.items()}
        assert [row[0] for row in rows] == sorted(alike, key=lambda name: -alike[name])
        found = tab.run("""(async () => {
          const [{ load }, { similarity }] = await Promise.all([import("./mnedge.js"), import("./task.js")]);
          const model = await load();
          const seen = [];
          for (const name of ["one", "two"]) seen.push(await model.run(await (await fetch(`${name}.png`)).blob()));
          return [similarity(...seen.map(({ answer }) => answer)), Array.from(seen[0].answer.embedding)];
        })()""")
        assert tab.faults() == []
    assert found[0] == pytest.approx(others[0]["similarity"], abs=1e-5)
    np.testing.assert_allclose(found[1], first["embedding"], atol=1e-6)
