"""The stages of a build: each makes files from a job and earlier models, once per content."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mnedge import cache
from mnedge.artifact import Artifact, Format, Io, Precision
from mnedge.data.origin import METADATA as ORIGIN
from mnedge.files import sha256, write_bytes, write_text
from mnedge.heap import large_blocks_apart
from mnedge.pixels import SYMMETRIC
from mnedge.results.details import QuantizationAccount
from mnedge.results.stored import read, to_json
from mnedge.silence import start_tensorflow
from mnedge.workflows.build.int8 import Lowering, quantized_graph

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.choices import Granularity
    from mnedge.graph.graph import Graph
    from mnedge.models.description import Weights
    from mnedge.workflows.build.job import Job
    from mnedge.workflows.build.own_model import OwnModel

    Progress = Callable[[str, float], None]

# Compiled forms of a target, and the format that their folder counts as.
_COMPILED: dict[str, Format] = {"c": "c", "vela": "tflite"}
# Passes that bring the converter's graph to the ops that every format knows.
_FLOAT_PASSES = ("fuse-l2-normalization",)
_INNER, _SHIPPED, _ACCOUNT = "int8.tflite", "shipped.tflite", "int8.json"


@dataclass(frozen=True)
class Model:
    """A .tflite in the cache, whose checksum and graph are worked out once for all stages that take it.

    Attributes:
        path: Path of the file.
    """

    path: Path

    @cached_property
    def sha256(self) -> str:
        """Checksum of the file."""
        return sha256(self.path)

    @cached_property
    def graph(self) -> Graph:
        """Its graph, as any reader of the file sees it."""
        from mnedge.formats.tflite_read import read_tflite

        return read_tflite(self.path)


def lowerings(job: Job) -> list[Lowering]:
    """The distinct ways to int8 that the job's targets ask for, the first target's first."""
    groups: dict[tuple[tuple[str, ...], tuple[str, ...], Granularity], list[str]] = {}
    for name, target in job.targets.items():
        key = (target.passes, target.tflite_passes, job.recipe.granularity or target.granularity)
        groups.setdefault(key, []).append(name)
    return [Lowering(tuple(names), *key) for key, names in groups.items()]


def weights(job: Job, progress: Progress) -> Weights:
    """The weights to build with; demo weights that the package does not bring are trained now, once."""
    from mnedge.models.build import packaged_demo

    variant = job.network
    if job.weights != "demo" or packaged_demo(variant) is not None:
        return job.weights
    key = {"variant": asdict(variant), "data": job.dataset.fingerprint, "seed": job.recipe.seed}

    def make(folder: Path) -> None:
        from mnedge.models.build import build_model
        from mnedge.training.demo import train_demo

        start_tensorflow()
        model = build_model(variant, "random", job.recipe.seed)
        resolution = variant.resolution
        pixels, labels = job.dataset.pixels(job.dataset.split("train"), resolution)
        train_demo(
            model,
            pixels,
            labels,
            seed=job.recipe.seed,
            progress=lambda stage, fraction: progress(f"demo weights: {stage}", fraction),
        )
        model.save_weights(folder / "demo.weights.h5")

    return cache.stage("demo-weights", key, make, least_bytes=job.least_bytes) / "demo.weights.h5"


def float_model(job: Job, progress: Progress) -> Model:
    """The float .tflite: a variant's Keras model, converted, batch norm folded; or a model of the user's."""
    if job.model is not None:
        return _own_float(job.model, _origin(job))
    from mnedge.models.build import style_key

    variant, source = job.network, weights(job, progress)
    key = {
        "variant": asdict(variant),
        "weights": str(job.weights) if isinstance(source, str) else sha256(source),
        "packaged": job.weights_sha256,
        "style": style_key(source),
        "seed": job.recipe.seed,
        "origin": _origin(job),
    }

    def make(folder: Path) -> None:
        from mnedge.formats.keras import keras_to_graph
        from mnedge.formats.pixels import with_pixels
        from mnedge.formats.tflite_write import write_tflite
        from mnedge.models.build import build_model
        from mnedge.models.description import description_of
        from mnedge.passes._pass import run_passes

        progress("build the Keras model", 0.0)
        with large_blocks_apart():
            start_tensorflow()
            model = build_model(variant, source, job.recipe.seed)
            progress("build the Keras model", 1.0)
            progress("convert to float .tflite", 0.0)
            graph = run_passes(keras_to_graph(model), _FLOAT_PASSES)
        graph = replace(
            graph,
            metadata={
                **with_pixels(graph.metadata, SYMMETRIC),
                **job.task.metadata(variant, description_of(source)),
                **_origin(job),
            },
        )
        write_bytes(folder / "fp32.tflite", write_tflite(graph))
        progress("convert to float .tflite", 1.0)

    return Model(cache.stage("float", key, make, least_bytes=job.least_bytes) / "fp32.tflite")


def _origin(job: Job) -> dict[str, bytes]:
    """The metadata that says how the data's splits were drawn; {} where they were not."""
    return {} if job.origin is None else {ORIGIN: job.origin.to_bytes()}


def _own_float(model: OwnModel, origin: dict[str, bytes]) -> Model:
    """The float .tflite of a model of the user's, which says what a picture is to it."""
    key = {
        "model": model.sha256,
        "size": model.size,
        "pixels": str(model.pixels),
        "origin": origin,
        "signatures": [signature.key for signature in model.network.graph.signatures],
    }

    def make(folder: Path) -> None:
        from mnedge.formats.pixels import with_pixels
        from mnedge.formats.tflite_write import write_tflite

        graph = model.network.graph
        if model.pixels is not None:
            graph = replace(graph, metadata=with_pixels(graph.metadata, model.pixels))
        write_bytes(folder / "fp32.tflite", write_tflite(replace(graph, metadata={**graph.metadata, **origin})))

    return Model(cache.stage("float", key, make) / "fp32.tflite")


def post_passes(job: Job, form: Format) -> tuple[str, ...]:
    """Names of the passes that put the task's post-processing into a file of a format, where the recipe wants it."""
    return job.task.post_passes.get(form, ()) if job.recipe.post_processing == "inside" else ()


def with_passes(model: Model, passes: tuple[str, ...]) -> Model:
    """Applies passes to a model; returns the same model if there are none."""
    if not passes:
        return model

    def make(folder: Path) -> None:
        from mnedge.formats.tflite_write import write_tflite
        from mnedge.passes._pass import run_passes

        write_bytes(folder / "model.tflite", write_tflite(run_passes(model.graph, passes)))

    return Model(cache.stage("passes", {"tflite": model.sha256, "passes": passes}, make) / "model.tflite")


def int8_model(job: Job, source: Model, lowering: Lowering, progress: Progress) -> Path:
    """The folder of one lowering: the int8 .tflite with int8 ends and as it ships, and the quantization's account."""
    from mnedge.workflows.build.measure import machine

    recipe = job.recipe
    shipping = (*lowering.tflite_passes, *post_passes(job, "tflite"))
    key = {
        "float": source.sha256,
        # Training looks at more of the data than calibration does.
        "data": job.dataset.fingerprint if recipe.method == "qat" else None,
        "calibration": job.calibration.sha256,
        "passes": lowering.passes,
        "granularity": lowering.granularity,
        "method": recipe.method,
        "effort": recipe.effort,
        "activations": recipe.activations,
        "max_slowdown": recipe.max_slowdown,
        "weights_bits": recipe.weights_bits,
        # What fits a latency budget is this machine's.
        "machine": asdict(machine()) if recipe.activations == "mixed" else None,
        "io": recipe.io,
        "shipping": shipping,
        "allow_float": recipe.allow_float,
        "head": job.told_head,
        "seed": recipe.seed,
    }

    def make(folder: Path) -> None:
        from mnedge.formats.tflite_write import write_tflite
        from mnedge.passes._pass import run_passes
        from mnedge.quantization.honesty import check_int8
        from mnedge.quantization.io import with_io

        quantized = quantized_graph(job, source.graph, lowering, progress)
        check_int8(quantized.graph, recipe.allow_float)
        write_bytes(folder / _INNER, write_tflite(quantized.graph))
        shipped = run_passes(quantized.graph, shipping)
        write_bytes(folder / _SHIPPED, write_tflite(with_io(shipped, recipe.io)))
        account = QuantizationAccount(quantized.steps, quantized.settings, layers=quantized.layers)
        write_text(folder / _ACCOUNT, to_json(account))

    return cache.stage("int8", key, make)


def onnx_model(model: Model, activations: Literal["uint8", "int8"], passes: tuple[str, ...] = ()) -> Path:
    """The .onnx of a .tflite; `activations` ("uint8", "int8") and `passes` matter for int8 models only."""
    key = {"tflite": model.sha256, "activations": activations, "passes": passes}

    def make(folder: Path) -> None:
        from mnedge.formats.onnx_write import write_onnx
        from mnedge.passes._pass import run_passes

        graph = run_passes(model.graph, passes)
        write_bytes(folder / "model.onnx", write_onnx(graph, activations=activations))

    return cache.stage("onnx", key, make) / "model.onnx"


def compiled(model: Model, name: str, target: str, form: str) -> Path:
    """The folder of an int8 .tflite compiled for a microcontroller ("c") or an Ethos-U ("vela")."""
    key = {"tflite": model.sha256, "name": name, "target": target, "form": form}

    def make(folder: Path) -> None:
        data = model.path.read_bytes()
        if form == "vela":
            from mnedge.codegen.vela import compile_vela

            compile_vela(data, name=name, target=target, out=folder / form, model_sha256=model.sha256)
            return
        from mnedge.codegen.compile import compile_c

        # The model itself goes along for the test vectors that the C ships with.
        compile_c(model.graph, name=name, target=target, out=folder / form, model_sha256=model.sha256, model=data)

    return cache.stage(form, key, make) / form


def artifact_names(job: Job, lowering: Lowering, first: Lowering) -> str:
    """The stem of an int8 artifact: the slug, and the target's name where it is not the first lowering's."""
    return job.slug if lowering is first else f"{job.slug}.{lowering.targets[0]}"


def artifacts(job: Job, progress: Progress) -> tuple[list[tuple[Path, Artifact]], list[QuantizationAccount]]:
    """Builds all artifacts of a job, the float ones first.

    Returns:
        As `int8_artifacts`.
    """
    source = float_model(job, progress)
    target = job.recipe.targets[0]
    shipped = with_passes(source, post_passes(job, "tflite"))
    found = [(shipped.path, _named(f"{job.slug}.fp32.tflite", "tflite", "float32", target, "fp32"))]
    if any("onnx" in wanted.formats for wanted in job.targets.values()):
        float_onnx = onnx_model(source, "uint8", post_passes(job, "onnx"))
        found.append((float_onnx, _named(f"{job.slug}.fp32.onnx", "onnx", "float32", target, "fp32")))
    if not job.recipe.int8:
        return found, []
    int8, accounts = int8_artifacts(job, source, progress)
    return found + int8, accounts


def int8_artifacts(
    job: Job, source: Model, progress: Progress
) -> tuple[list[tuple[Path, Artifact]], list[QuantizationAccount]]:
    """Makes the int8 artifacts of a job.

    Returns:
        Pairs of the file (or folder) in the cache and the artifact with the name that it ships under, and the
        account of each quantization.
    """
    found: list[tuple[Path, Artifact]] = []
    accounts = []
    ways = lowerings(job)
    for lowering in ways:
        folder = int8_model(job, source, lowering, progress)
        accounts.append(replace(read(folder / _ACCOUNT, QuantizationAccount), targets=lowering.targets))
        inner, stem, target = Model(folder / _INNER), artifact_names(job, lowering, ways[0]), lowering.targets[0]
        found.append((folder / _SHIPPED, _named(f"{stem}.int8.tflite", "tflite", job.recipe.io, target)))
        for name in lowering.targets:
            if "onnx" in job.targets[name].formats:
                activations = job.recipe.onnx_activations or job.targets[name].onnx_activations
                onnx = onnx_model(inner, activations, (*post_passes(job, "onnx"), *job.targets[name].onnx_passes))
                suffix = "" if name == target else f".{name}"
                found.append((onnx, _named(f"{stem}{suffix}.int8.onnx", "onnx", "float32", name)))
        for name in lowering.targets:
            for form in _COMPILED.keys() & set(job.targets[name].formats):
                whole = with_passes(inner, post_passes(job, "c"))
                folder_of = compiled(whole, job.slug.replace(".", "_"), name, form)
                found.append((folder_of, _named(f"{job.slug}.{name}", _COMPILED[form], "int8", name)))
    return found, accounts


def _named(name: str, kind: Format, io: Io, target: str, precision: Precision = "int8") -> Artifact:
    return Artifact(Path(name), kind, precision, io, target)
