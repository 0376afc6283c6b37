"""report.json of schema 1, as builds have written it since the first: read into the nouns, and written the same."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from mnedge import artifact, files
from mnedge.errors import InputError
from mnedge.results.accuracy import Figures, WorstPicture
from mnedge.results.report import ArtifactRow, GateRow, Report, read_report
from mnedge.results.stored import to_json

_TFLITE = {"artifact": "net.int8.tflite", "runtime": "ai-edge-litert 2.3.0 (XNNPACK)", "device": "local"}
_SCHEMA_1: dict[str, Any] = {
    "schema": 1,
    "slug": "net",
    "task": "segment",
    "variant": {
        "family": "v2", "alpha": 0.35, "resolution": 96, "classes": 2, "head": "lr-aspp", "output_stride": 16,
        "parameters": 400_000, "macs": 20_000_000,
    },
    "artifacts": [
        {
            "path": "net.int8.tflite", "format": "tflite", "precision": "int8", "io": "int8", "target": "cpu",
            "bytes": 500_000, "sha256": "ab" * 32,
        }
    ],
    "accuracy": [
        {
            **_TFLITE, "dataset": "pets", "images": 40, "mean_iou": 0.8, "mean_iou_interval": [0.75, 0.84],
            "iou": {"cat": 0.9, "dog": None}, "worst": [{"source": "a.png", "iou": 0.1}], "partitions": 1,
        }
    ],
    "latency": [
        {**_TFLITE, "threads": 1, "p50_ms": 3.5, "p90_ms": 4.0, "p99_ms": 5.0, "runs": 300, "warmed_up": True,
         "partitions": 1},
        {
            "artifact": "net.int8.tflite", "runtime": "litert", "device": "ssh://pi", "threads": 1, "p50_ms": 30.0,
            "p90_ms": 31.0, "p99_ms": 32.0, "runs": 30, "warmed_up": True, "partitions": 1, "board": {"model": "Pi 5"},
            "emulated": False, "unstable": ["throttled"], "temperature_c": 61.5, "clock_mhz": None,
        },
    ],
    "parity": [
        {"reference": "net.fp32.tflite", "artifact": "net.int8.tflite", "images": 40, "top1_agreement": 0.98,
         "max_abs_lsb": None, "max_abs_error": 0.1}
    ],
    "int8": [
        {"artifact": "net.int8.tflite", "ops": 90, "float_ops": 1, "float_op_names": ["ARG_MAX x"],
         "delegate_partitions": 2}
    ],
    "memory": [
        {"artifact": "net.m4", "target": "cortex-m4", "arena_bytes": 1024, "flash_bytes": None, "stack_bytes": None}
    ],
    "gates": [
        {"name": "int8_only", "limit": True, "measured": 1.0, "passed": False},
        {"name": "max_size_kib", "limit": 600.0, "measured": None, "passed": False},
    ],
}  # fmt: skip


@pytest.fixture
def written(tmp_path: Path) -> Path:
    (tmp_path / "report.json").write_text(json.dumps(_SCHEMA_1))
    return tmp_path / "report.json"


def test_every_table_of_schema_1_is_read(written: Path) -> None:
    report = read_report(written)
    assert report == read_report(written.parent)
    (accuracy,) = report.accuracy
    assert accuracy.figures == Figures(
        {"mean_iou": 0.8},
        {"mean_iou": (0.75, 0.84)},
        {"iou": {"cat": 0.9, "dog": None}},
        (WorstPicture("a.png", {"iou": 0.1}),),
    )
    assert (accuracy.metric("mean_iou"), accuracy.interval("mean_iou")) == (0.8, (0.75, 0.84))
    assert accuracy.metric("top1") is None
    here, board = report.latency
    assert here.state is None
    assert board.state is not None
    assert (board.state.unstable, board.state.temperature_c, board.emulated) == (("throttled",), 61.5, False)
    assert report.gates[0] == GateRow("int8_only", limit=True, measured=1.0, passed=False)
    assert (report.task, report.variant.head, report.int8[0].float_op_names) == ("segment", "lr-aspp", ("ARG_MAX x",))


def test_what_was_read_is_written_with_the_same_names_and_values(written: Path) -> None:
    assert _keeps(json.loads(to_json(read_report(written))), _SCHEMA_1)


def _keeps(now: Any, before: Any) -> bool:
    """Whether all that was there before is there now; later versions may say more."""
    if isinstance(before, dict):
        return isinstance(now, dict) and all(key in now and _keeps(now[key], value) for key, value in before.items())
    if isinstance(before, list):
        return len(now) == len(before) and all(map(_keeps, now, before))
    return bool(now == before)


def test_a_report_from_before_there_were_tasks(written: Path) -> None:
    older = {key: value for key, value in _SCHEMA_1.items() if key != "task"}
    older["variant"] = {"family": "v1", "alpha": 1.0, "resolution": 96, "classes": 10}
    written.write_text(json.dumps(older))
    report = read_report(written)
    assert (report.task, report.variant.head) == ("classify", "classifier")


@pytest.mark.parametrize(
    ("table", "field", "value", "place"),
    [
        ("accuracy", "mean_iou", "high", "accuracy[0].figures.metrics"),
        ("accuracy", "mean_iou_interval", [0.1], "accuracy[0].figures.intervals"),
        ("accuracy", "worst", [1], "accuracy[0].figures.worst[0]"),
        ("accuracy", "worst", 5, "accuracy[0].figures.worst"),
        ("accuracy", "worst", [{"iou": 0.5}], "accuracy[0].figures.worst[0]"),
        ("artifacts", "precision", "int4", "artifacts[0].precision"),
        ("latency", "p50_ms", None, "latency[0].p50_ms"),
        ("gates", "passed", "yes", "gates[0].passed"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(
    written: Path, table: str, field: str, value: object, place: str
) -> None:
    rows = [{**_SCHEMA_1[table][0], field: value}, *_SCHEMA_1[table][1:]]
    written.write_text(json.dumps({**_SCHEMA_1, table: rows}))
    with pytest.raises(InputError) as caught:
        read_report(written)
    assert place in str(caught.value)
    assert str(written) in str(caught.value)


@pytest.mark.parametrize("rows", [None, 1, [1], [[]], ["x"], {}])
def test_a_table_that_is_none_is_an_input_error(written: Path, rows: object) -> None:
    for table in ("accuracy", "latency", "artifacts"):
        written.write_text(json.dumps({**_SCHEMA_1, table: rows}))
        with pytest.raises(InputError, match=r"report\.json"):
            read_report(written)


def test_an_unknown_schema_is_refused(written: Path) -> None:
    written.write_text(json.dumps({**_SCHEMA_1, "schema": 99}))
    with pytest.raises(InputError, match="has schema 99, this mnedge reads schema 1"):
        read_report(written)


def test_a_notebook_shows_artifacts_figures_and_gates(written: Path) -> None:
    page = read_report(written)._repr_html_()
    for text in ("net.int8.tflite", "500,000", "mean_iou", "0.8", "3.5", "0 of 2 gates passed", "max_size_kib"):
        assert text in page, text


def test_a_notebook_shows_text_and_no_markup_of_others() -> None:
    evil = "<script>"
    values = {**_SCHEMA_1, "slug": evil, "artifacts": [{**_SCHEMA_1["artifacts"][0], "path": evil}]}
    report = _read(values)
    assert "&lt;script&gt;" in report._repr_html_()
    assert evil not in report._repr_html_()


def test_an_artifact_in_its_place_has_its_row(tmp_path: Path) -> None:
    path = tmp_path / "m.int8.tflite"
    path.write_bytes(b"1234")
    row = ArtifactRow.of(artifact.Artifact(path, "tflite", "int8", "int8", "cpu"))
    assert row == ArtifactRow("m.int8.tflite", "tflite", "int8", "int8", "cpu", 4, files.sha256(path))


def _read(values: dict[str, Any]) -> Report:
    from mnedge.results.stored import from_json

    return from_json(json.dumps(values), Report, "report.json")


def test_a_damaged_report_is_an_input_error_or_a_report(written: Path) -> None:
    """One value of another kind, anywhere: nothing but InputError comes out."""
    refused = 0
    for seed in range(400):
        chance = random.Random(seed)  # noqa: S311 - damage, not secrets
        values = json.loads(json.dumps(_SCHEMA_1))
        node: Any = values
        while True:
            key = chance.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
            if not isinstance(node[key], (dict, list)) or not node[key] or chance.random() < 0.2:
                break
            node = node[key]
        others: tuple[Any, ...] = (None, 1.5, "x", [], {}, [[]], [1], {"a": 1}, True)
        node[key] = chance.choice(others)
        written.write_text(json.dumps(values))
        try:
            read_report(written)._repr_html_()
        except InputError:
            refused += 1
    assert refused > 100
