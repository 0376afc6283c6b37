"""What a worker does, as functions of JSON values: build the artifacts of a point, evaluate one on some pictures.

A place in a request is {"path": …} on the machine that asks, or {"parcel": address, "name": …} anywhere.
`python -m mnedge.workflows.sweep.tasks` is a worker: a request a line on standard input, an answer a line on
standard output.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.errors import MnedgeError, ToolError
from mnedge.workflows.sweep import parcels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnedge.data._dataset import Dataset

# Keras and the silence of native libraries are of the whole process.
_ONE_AT_A_TIME = threading.Lock()


def perform(request: Mapping[str, Any]) -> dict[str, Any]:
    """Does what a request says.

    Returns:
        The answer, or {"error": message, "kind": name of the error}; a bug's message is its traceback.
    """
    with _ONE_AT_A_TIME:
        try:
            return _TASKS[request["task"]](request)
        except MnedgeError as exc:
            return {"error": str(exc), "kind": type(exc).__name__}
        except Exception as exc:  # noqa: BLE001 - it costs this task, and the one who asked sees all of it
            return {"error": traceback.format_exc(), "kind": type(exc).__name__}


def build(request: Mapping[str, Any]) -> dict[str, Any]:
    """Builds the artifacts of a recipe; measures nothing.

    Args:
        request: {recipe, data, weights, calibration}: all but the recipe are places, or null for what the recipe says.

    Returns:
        {slug, variant, artifacts: [{name, path, format, precision, io, target}], memory: rows of report.json}.
    """
    from dataclasses import asdict

    from mnedge.artifact import Artifact
    from mnedge.models.cost import cost
    from mnedge.workflows.build import job, stages

    recipe = _recipe(request)
    work = job.resolve(recipe)
    float_tflite = stages.float_model(work, _quiet)
    name = Path(f"{work.slug}.fp32.tflite")
    found = [(float_tflite, Artifact(name, "tflite", "fp32", "float32", recipe.targets[0]))]
    found += stages.int8_artifacts(work, float_tflite, _quiet)[0]
    counted = cost(work.variant)
    memory = [
        {"artifact": made.path.name, "target": made.target, **_memory(path)} for path, made in found if path.is_dir()
    ]
    return {
        "slug": work.slug,
        "variant": {**asdict(work.variant), "parameters": counted.parameters, "macs": counted.macs},
        "artifacts": [
            {
                "name": made.path.name,
                "path": str(path),
                "format": made.format,
                "precision": made.precision,
                "io": made.io,
                "target": made.target,
            }
            for path, made in found
            if path.is_file()
        ],
        "memory": memory,
    }


def _memory(folder: Path) -> dict[str, Any]:
    manifest = json.loads((folder / "manifest.json").read_text())
    kept = ("arena_bytes", "ram_bytes", "flash_bytes", "stack_bytes", "instructions", "inference_ms")
    return {name: manifest.get(name) for name in kept}


def _recipe(request: Mapping[str, Any]) -> Any:  # noqa: ANN401 - Recipe
    from mnedge.recipe import Recipe

    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in request["recipe"].items()
    }
    if request["data"]:
        values["data"] = str(parcels.labels_csv(_place(request["data"])))
    if request["calibration"]:
        values["calibration"] = str(parcels.labels_csv(_place(request["calibration"])))
    if request["weights"]:
        values["weights"] = str(_place(request["weights"]))
    return Recipe(**values)


def evaluate(request: Mapping[str, Any]) -> dict[str, Any]:
    """Counts an artifact's hits on some pictures.

    Args:
        request: {artifact, pictures, numbers, threads}: `artifact` is a place; `pictures` the place of a parcel, or
            {"data": …} as --data takes it; `numbers` picture numbers, or null for all of the parcel.

    Returns:
        {images, top1, top5, runtime}: counts, and the runtime's name.
    """
    from mnedge.devices.local import LocalDevice
    from mnedge.validation.accuracy import topk_hits
    from mnedge.validation.predict import predict

    dataset = _pictures(request["pictures"])
    numbers = dataset.split("eval") if request["numbers"] is None else np.array(request["numbers"], np.int64)
    device: Any = LocalDevice("local", workers=request["threads"])
    said = predict(_place(request["artifact"]), dataset, numbers, device=device)
    return {
        "images": len(said.labels),
        "top1": int(topk_hits(said.outputs, said.labels, 1).sum()),
        "top5": int(topk_hits(said.outputs, said.labels, 5).sum()),
        "runtime": said.info.version,
    }


def _pictures(place: Mapping[str, Any]) -> Dataset:
    if "data" in place:
        return _opened(place["data"], place["skip_broken"])
    return parcels.open_pictures(_place(place))


@cache
def _opened(spec: str, skip_broken: bool) -> Dataset:
    # A shard more of the same data set does not look at all its files again.
    from mnedge import data

    return data.open_dataset(spec, skip_broken=skip_broken)


def _place(place: Mapping[str, Any]) -> Path:
    if "path" in place:
        return Path(place["path"])
    folder = parcels.find(place["parcel"])
    if folder is None:
        raise ToolError(f"parcel {place['parcel'][:12]} was removed from this machine's cache")
    return folder / str(place.get("name", ""))


def _quiet(_stage: str, _fraction: float) -> None:
    pass


_TASKS = {"build": build, "evaluate": evaluate}


def main() -> None:
    """Answers requests until standard input ends."""
    # What a library prints must not end up among the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(perform(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
