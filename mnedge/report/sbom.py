"""The bill of materials of a bundle as CycloneDX 1.6: the model with its card, its data sets and the tools."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

from mnedge.report.model_card import calibration_in_words, limits
from mnedge.report.summary import METRICS, metrics
from mnedge.text import line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnedge.report.model_card import Description
    from mnedge.results.manifest import BuildManifest, DatasetRow, FileRow
    from mnedge.results.report import Report
    from mnedge.untyped import Json, JsonObject

FILE = "sbom.cdx.json"
_MODEL = "model"
_NAMESPACE = uuid.UUID("6a0f2f0e-5d2b-5c0e-9d3f-0d6a4e1d7c11")


def render_sbom(manifest: BuildManifest, report: Report, files: Sequence[FileRow], described: Description) -> str:
    """Renders an ML-BOM of the standard ECMA-424 (CycloneDX 1.6), the same for the same build.

    Args:
        manifest: manifest.json of the build.
        report: report.json of the build.
        files: The files of the bundle, with their checksums.
        described: Description by its maker and its task.

    Returns:
        JSON text: the model as component with its modelCard, a component for each file, data set and package.
    """
    data = list(_data(manifest))
    tools: list[JsonObject] = [
        {"type": "library", "bom-ref": f"pkg:pypi/{name}@{number}", "name": name, "version": number,
         "purl": f"pkg:pypi/{name}@{number}"}
        for name, number in manifest.tools.items()
    ]  # fmt: skip
    shipped: list[JsonObject] = [
        {"type": "file", "bom-ref": f"file:{row.path}", "name": line(row.path),
         "hashes": [{"alg": "SHA-256", "content": row.sha256}]}
        for row in files
    ]  # fmt: skip
    model: JsonObject = {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": line(report.slug),
        "version": described.version,
        **({"description": line(described.purpose)} if described.purpose else {}),
        "licenses": [{"license": {"name": line(described.terms)}}],
        "modelCard": _card(manifest, report, described, [str(row["bom-ref"]) for row in data]),
    }
    body: JsonObject = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": model, "tools": {"components": [row for row in tools if row["name"] == "mnedge"]}},
        "components": [*shipped, *data, *(row for row in tools if row["name"] != "mnedge")],
        "dependencies": [{"ref": _MODEL, "dependsOn": [row["bom-ref"] for row in (*shipped, *data)]}],
    }
    # Named by what it says, so that the same build has the same number.
    number = uuid.uuid5(_NAMESPACE, json.dumps(body, sort_keys=True))
    body["serialNumber"] = f"urn:uuid:{number}"
    return json.dumps(body, indent=2) + "\n"


def _card(manifest: BuildManifest, report: Report, described: Description, data: Sequence[str]) -> JsonObject:
    variant = report.variant
    architecture = "convolutional network" if variant.family is None else f"MobileNet {variant.family}"
    parameters: JsonObject = {
        "task": described.task,
        "architectureFamily": architecture,
        "modelArchitecture": line(report.slug),
        "datasets": [{"ref": name} for name in data],
        "inputs": [{"format": "image"}],
        "outputs": [{"format": described.task}],
    }
    considered: JsonObject = {"technicalLimitations": [line(text) for text in limits(manifest, report, described)]}
    return {
        "modelParameters": parameters,
        "quantitativeAnalysis": {"performanceMetrics": list(_figures(report))},
        "considerations": considered,
    }


def _figures(report: Report) -> Iterator[JsonObject]:
    for row in report.accuracy:
        for key in metrics(report):
            value, bounds = row.metric(key), row.interval(key)
            if value is None:
                continue
            found: JsonObject = {
                "type": METRICS[key],
                "value": f"{value:.4f}",
                "slice": line(f"{row.artifact} on {row.device}, {row.images} pictures of {row.dataset}"),
            }
            if bounds:
                found["confidenceInterval"] = {
                    "lowerBound": f"{bounds[0]:.4f}",
                    "upperBound": f"{bounds[1]:.4f}",
                }
            yield found


def _data(manifest: BuildManifest) -> Iterator[JsonObject]:
    yield _dataset("data", manifest.dataset.name, manifest.dataset.sha256, _preprocessing(manifest.dataset))
    if manifest.calibration is not None:
        row = manifest.calibration
        yield _dataset("calibration", row.name, manifest.calibration_sha256, calibration_in_words(row))


def _preprocessing(row: DatasetRow) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.preprocessing.items())


def _dataset(reference: str, name: str, sha256: str | None, said: str) -> JsonObject:
    hashes: list[Json] = [{"alg": "SHA-256", "content": sha256}] if sha256 else []
    found: JsonObject = {"type": "data", "bom-ref": reference, "name": line(name)}
    if said:
        found["description"] = line(said)
    if hashes:
        found["hashes"] = hashes
    return found
