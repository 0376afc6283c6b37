"""Kinds of mutants that are text, tables, pictures and records: what stands beside models."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from tests.mutants import changes
from tests.mutants.loaded import loaded, network, value_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mutants.kinds import Work

_NUMBER = 4


class _Files:
    """Mutants that take the place of one file in a folder of pictures."""

    change: Callable[[bytes, np.random.Generator], bytes] = staticmethod(changes.damaged_text)

    def __init__(self, folder: Path, sources: list[Path]) -> None:
        del sources
        self.folder, self.data = folder, folder / "data"
        self.data.mkdir()
        self.model = folder / "net.tflite"
        self.model.write_bytes(network("float32"))
        self.seeds: list[tuple[Path, bytes]] = []
        self.pictures()
        self.prepare()

    def pictures(self) -> None:
        rng = np.random.default_rng(0)
        for number in range(_NUMBER):
            Image.fromarray(rng.integers(0, 256, (20, 40, 3)).astype(np.uint8)).save(self.data / f"{number}.png")

    def prepare(self) -> None:
        raise NotImplementedError

    def mutant(self, rng: np.random.Generator, number: int) -> Path | None:
        place, data = self.seeds[number % len(self.seeds)]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(self.change(data, rng))
        return place

    def clean(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "out", ignore_errors=True)

    def out(self, name: str) -> str:
        (self.folder / "out").mkdir(exist_ok=True)
        return str(self.folder / "out" / name)

    def validated(self, data: Path, *more: str) -> list[str]:
        return ["validate", str(self.model), "--data", str(data), "--pixels", "-1..1", *more]


class Csv(_Files):
    """Mutants of tables of pictures: classes, boxes, several labels, lists of other tools."""

    def prepare(self) -> None:
        tests = loaded("data/test_mutants.py")
        texts = {"labels.csv": [tests._LISTED.encode(), tests._CORNERS.encode()]}
        for name, text in {**tests._CLASSES, **tests._TEXTS}.items():
            if name.endswith(".csv"):
                texts.setdefault(name, []).append(text)
        self.seeds = [(self.data / name, text) for name, found in texts.items() for text in found]

    def verbs(self, file: Path, number: int) -> dict[str, Work]:
        from mnedge.data import open_dataset
        from mnedge.data.boxes import open_boxes

        json_ = ["--json"] if number % 2 else []
        return {
            "open_dataset": lambda: open_dataset(str(file)).read(0, 8),
            "open_dataset of the folder": lambda: open_dataset(str(self.data)).read(0, 8),
            "open_boxes": lambda: open_boxes(file if number % 2 else self.data),
            "validate": self.validated(file if number % 3 else self.data, *json_),
        }


class Coco(_Files):
    """Mutants of the JSON of annotation tools: COCO, and what else holds boxes and outlines."""

    change = staticmethod(changes.damaged_json)

    def prepare(self) -> None:
        tests = loaded("data/test_mutants.py")
        found = {"c.json": tests._COCO, **dict(tests._JSON.values())}
        self.seeds = [(self.data / name, json.dumps(content).encode()) for name, content in found.items()]
        # Half of them are COCO's own.
        self.seeds = [seed for other in self.seeds[1:] for seed in (self.seeds[0], other)]

    def verbs(self, file: Path, number: int) -> dict[str, Work]:
        from mnedge.data.boxes import open_boxes
        from mnedge.data.masks import open_masks

        del file

        def masks() -> None:
            found = open_masks(self.data)
            assert found.truths is not None
            for place in range(len(found.sources)):
                found.truths(place, 0)

        task = ("detect", "segment")[number % 2]
        return {
            "open_boxes": lambda: open_boxes(self.data),
            "open_masks": masks,
            "validate": self.validated(self.data, "--task", task),
        }


class Voc(_Files):
    """Mutants of Pascal VOC's XML, of its lists of splits, and of CVAT's XML."""

    def prepare(self) -> None:
        tests = loaded("data/test_mutants.py")
        self.seeds = [(self.data / "0.xml", tests._VOC.encode())] * 3
        self.seeds += [(self.data / "ImageSets" / "train.txt", b"0\n1\n2\n")]
        self.seeds += [(self.data / "annotations.xml", tests._TEXTS["annotations.xml"])]

    def mutant(self, rng: np.random.Generator, number: int) -> Path | None:
        found = super().mutant(rng, number)
        if found is not None and found.name == "train.txt":
            (self.data / "0.xml").write_bytes(self.seeds[0][1])
        return found

    def verbs(self, file: Path, number: int) -> dict[str, Work]:
        from mnedge.data.boxes import open_boxes

        del file, number
        return {
            "open_boxes": lambda: open_boxes(self.data),
            "validate": self.validated(self.data, "--task", "detect"),
        }

    def clean(self, file: Path) -> None:
        super().clean(file)
        (self.data / "0.xml").unlink(missing_ok=True)
        shutil.rmtree(self.data / "ImageSets", ignore_errors=True)


class Recipe(_Files):
    """Mutants of recipes, which are resolved as far as a build resolves them before its first stage."""

    def prepare(self) -> None:
        tests = loaded("test_foreign.py")
        (self.data / "labels.csv").write_text(
            "filename,class_index,split\n0.png,0,train\n1.png,1,eval\n2.png,0,train\n"
        )
        own = (
            f"variant: v2\nalpha: 0.35\nweights: random\ndata: {self.data / 'labels.csv'}\nint8: true\nresolution: 32\n"
        )
        model = f"model: {self.model}\ndata: {self.data / 'labels.csv'}\npixels: -1..1\nint8: true\n"
        texts = [tests._RECIPE, own.encode(), model.encode()]
        texts += [path.read_bytes() for path in sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))]
        self.seeds = [(self.folder / "r.yaml", text) for text in texts]

    def verbs(self, file: Path, number: int) -> dict[str, Work]:
        from mnedge import recipe
        from mnedge.workflows.build.job import resolve

        del number
        # A folder that cannot be made: all that is checked before it is checked.
        return {
            "resolve": lambda: resolve(recipe.load(str(file))),
            "build": ["build", "--recipe", str(file), "--out", str(self.model / "x"), "--json"],
        }


class Settings(_Files):
    """Mutants of dataset.yaml beside pictures."""

    def prepare(self) -> None:
        tests = loaded("test_foreign.py")
        (self.data / "labels.csv").write_text(
            "filename,class_index,split\n0.png,0,train\n1.png,1,eval\n2.png,0,train\n"
        )
        more = b"crop_fraction: 1.0\ninterpolation: lanczos\nfit: pad\n"
        self.seeds = [(self.data / "dataset.yaml", text) for text in (tests._SETTINGS, more)]

    def verbs(self, file: Path, number: int) -> dict[str, Work]:
        from mnedge.data import open_dataset

        del file
        json_ = ["--json"] if number % 2 else []
        return {
            "open_dataset": lambda: open_dataset(str(self.data / "labels.csv")).read(0, 8),
            "validate": self.validated(self.data / "labels.csv", *json_),
        }


class Calibration(_Files):
    """Mutants of calibration sets."""

    def prepare(self) -> None:
        from mnedge.silence import start_tensorflow

        start_tensorflow()
        tests = loaded("test_foreign.py")
        text = tests._CALIBRATION.replace(b"data: photos", f"data: {self.data}".encode())
        self.seeds = [(self.folder / "c.yaml", text)] * 3
        self.seeds += [(self.data / "c.yaml", text.replace(str(self.data).encode(), b"."))]

    def verbs(self, file: Path, number: int) -> dict[str, Work]:
        from mnedge.data.calibration import open_calibration

        return {
            "open_calibration": lambda: open_calibration(str(file)).pixels(8),
            "quantize": [
                "quantize", str(self.model), "-o", self.out("int8.tflite"), "--calibration", str(file), "--data",
                str(self.data), "--pixels", "-1..1", "--effort", "fast", *(["--json"] if number % 2 else []),
            ],
        }  # fmt: skip


class Picture(_Files):
    """Mutants of pictures of all formats."""

    change = staticmethod(changes.flipped)

    def prepare(self) -> None:
        shutil.rmtree(self.data)
        (self.data / "a").mkdir(parents=True)
        (self.data / "b").mkdir()
        seeds = loaded("data/test_preprocess.py")._seeds()
        self.good = seeds["png"]
        for name, data in seeds.items():
            self.seeds.append((self.data / "b" / f"x.{name.split('.')[-1]}", data))

    def mutant(self, rng: np.random.Generator, number: int) -> Path | None:
        (self.data / "a" / "good.png").write_bytes(self.good)
        place, data = self.seeds[number % len(self.seeds)]
        # Mostly in the header, where sizes and kinds stand.
        head = int(rng.choice([64, 200, len(data)], p=[0.5, 0.3, 0.2]))
        place.write_bytes(changes.flipped(data[:head], rng) + data[head:])
        return place

    def verbs(self, file: Path, number: int) -> dict[str, Work]:
        from mnedge.data.preprocess import Preprocessing, read_pixels

        json_ = ["--json"] if number % 2 else []
        return {
            "read_pixels": lambda: read_pixels(file, 8, Preprocessing()),
            "predict": [
                "predict", str(self.model), str(file), "--crop", "stretch", "--pixels", "-1..1", "--save",
                self.out("drawn"), *json_,
            ],
            "validate": self.validated(self.data, "--skip-broken" if number % 3 else "--json"),
        }  # fmt: skip


class Report(_Files):
    """Mutants of report.json."""

    change = staticmethod(changes.damaged_json)

    def prepare(self) -> None:
        from mnedge.results.stored import as_json

        tests = loaded("report/conftest.py")
        self.report, self.details = value_of(tests.report), value_of(tests.details)
        text = json.dumps(as_json(self.report)).encode()
        (self.folder / "whole.json").write_bytes(text)
        self.seeds = [(self.folder / "damaged.json", text)]

    def verbs(self, file: Path, number: int) -> dict[str, Work]:
        from mnedge.report.html import render_html
        from mnedge.report.junit import render_junit
        from mnedge.report.markdown import render_markdown
        from mnedge.results.report import read_report
        from mnedge.validation.baseline import baseline_rows, read_baseline

        def rendered() -> None:
            found = read_report(file)
            for render in (render_markdown, render_junit):
                render(found)
            render_html(found, self.details)

        def held() -> None:
            baseline_rows(
                self.report, read_baseline(file, self.report.slug), {"top1": 0.01, "bytes": 0.02, "p50_ms": 0.1}
            )

        whole, json_ = str(self.folder / "whole.json"), ["--json"] if number % 2 else []
        return {
            "compare": ["compare", whole, str(file), *json_],
            "compare with": ["compare", str(file), whole, *json_],
            "render": rendered,
            "baseline": held,
        }


class Manifest(_Files):
    """Mutants of a build's manifest.json, half of them under a record that vouches for them; and of compiled C's."""

    change = staticmethod(changes.damaged_json)

    def prepare(self) -> None:
        tests = loaded("workflows/conftest.py")
        self.build = self.folder / "build"
        self.build.mkdir()
        (self.build / "net.int8.tflite").write_bytes(network("int8"))
        (self.build / "labels.txt").write_text("ant\nbee\ncat\ndog\n")
        row = {
            "path": "net.int8.tflite", "format": "tflite", "precision": "int8", "io": "int8", "target": "cpu",
            "bytes": 1, "sha256": "",
        }  # fmt: skip
        manifest: dict[str, Any] = {
            "schema": 1, "slug": "net", "recipe": {"resolution": 8}, "tools": {"ai-edge-litert": "2.3.0"},
            "weights_sha256": None, "calibration_sha256": "0",
            "dataset": {"name": "demo", "preprocessing": {"crop_fraction": 1.0, "interpolation": "bicubic"}},
            "artifacts": [row],
        }  # fmt: skip
        tests._seal(self.build, manifest)
        from mnedge.workflows.compile import compile as compile_model

        self.compiled = self.folder / "c"
        path, os.environ["PATH"] = os.environ["PATH"], ""
        compile_model(self.build / "net.int8.tflite", self.compiled, "generic")
        os.environ["PATH"] = path
        self.seeds = [
            (place / "manifest.json", (place / "manifest.json").read_bytes()) for place in (self.build, self.compiled)
        ]
        self.seeds += [(self.build / "checksums.json", (self.build / "checksums.json").read_bytes())]

    def mutant(self, rng: np.random.Generator, number: int) -> Path | None:
        from mnedge.results.manifest import FileRow
        from mnedge.results.stored import as_json

        for file, data in self.seeds:
            file.write_bytes(data)
        found = super().mutant(rng, number)
        if found == self.build / "manifest.json" and rng.random() < 0.7:
            rows = json.loads(self.seeds[2][1])
            rows["files"][0] = as_json(FileRow.of(found))
            (self.build / "checksums.json").write_text(json.dumps(rows))
        return found

    def verbs(self, file: Path, number: int) -> dict[str, Work]:
        json_ = ["--json"] if number % 2 else []
        place, picture = self.build, str(self.data / "0.png")
        if file.is_relative_to(self.compiled):
            return {
                "predict": ["predict", str(self.compiled), picture, "--crop", "stretch", *json_],
                "verify": ["verify", str(self.compiled), *json_],
            }
        kind = ("raspberry-pi", "android", "microcontroller")[number % 3]
        return {
            "verify": ["verify", str(place), *json_],
            "bundle": ["bundle", kind, str(place), "-o", self.out("bundle"), *json_],
            "compare": ["compare", str(place), str(place), *json_],
            "predict": ["predict", str(place / "net.int8.tflite"), picture, *json_],
        }

    def clean(self, file: Path) -> None:
        del file
        shutil.rmtree(self.folder / "out", ignore_errors=True)


class Cache(_Files):
    """Mutants of the cache's entries: their records, their files, and their folders."""

    def prepare(self) -> None:
        self.cache = Path(os.environ["MNEDGE_CACHE"])
        self.tests = loaded("test_cache.py")

    @staticmethod
    def make(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "out.txt").write_text("good")
        (folder / "deep" / "more.bin").write_bytes(bytes(range(64)))

    def mutant(self, rng: np.random.Generator, number: int) -> Path | None:
        from mnedge import cache

        shutil.rmtree(self.cache, ignore_errors=True)
        entry = cache.stage("s", {"n": number}, self.make)
        record = entry / "entry.json"
        if rng.random() < 0.7:
            record.write_bytes(changes.damaged_json(record.read_bytes(), rng))
        else:
            self.tests._damaged(entry, rng)
        return entry

    def verbs(self, file: Path, number: int) -> dict[str, Work]:
        from mnedge import cache

        def again() -> None:
            for _ in range(2):
                found = cache.stage("s", {"n": number}, self.make)
                assert (found / "out.txt").read_text() == "good"
                assert (found / "deep" / "more.bin").read_bytes() == bytes(range(64))

        del file
        listed = ["cache", "--json"] if number % 2 else ["cache"]
        return {"stage": again, "cache": listed, "cache --prune": ["cache", "--prune"], "stage again": again}

    def clean(self, file: Path) -> None:
        del file
