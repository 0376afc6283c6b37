from typing import Any

from mnedge.report.tables import Table, artifacts, gates, tables


def _column(table: Table, name: str) -> list[str]:
    place = [column.lstrip(">") for column in table.columns].index(name)
    return [row[place].text for row in table.rows]


def test_artifacts_are_held_against_float(report: dict[str, Any]) -> None:
    table = artifacts(report)
    assert _column(table, "artifact") == ["fp32.tflite", "int8.tflite", "fp32.onnx", "int8.onnx"]
    assert _column(table, "smaller") == ["", "3.32×", "", "3.40×"]
    assert _column(table, "top-1 %") == ["97.65", "96.98", "97.65", "70.35"]
    # 0.7 points are less than 597 pictures can tell apart, 27 are not.
    assert _column(table, "against float") == ["", "−0.7", "", "−27.3*"]
    assert _column(table, "faster") == ["", "2.39×*", "", "1.54×*"]
    assert any("measurements show" in note for note in table.notes)


def test_nothing_is_starred_without_a_shown_difference(report: dict[str, Any]) -> None:
    report["accuracy"] = report["accuracy"][:3]
    for row in report["latency"]:
        row["p90_ms"] = 20.0
    table = artifacts(report)
    assert not any("*" in note for note in table.notes)
    assert _column(table, "top-1 %")[3] == "–"


def test_several_devices_and_thread_counts_get_columns(report: dict[str, Any]) -> None:
    assert not {"device", ">threads"} & set(artifacts(report).columns)
    row = report["latency"][1]
    report["latency"] += [{**row, "device": "ssh://pi@pi5", "p50_ms": 9.0}, {**row, "threads": 4, "p50_ms": 1.0}]
    table = artifacts(report)
    assert _column(table, "device") == ["local", "local", "ssh://pi@pi5", "local", "local", "local"]
    assert _column(table, "threads") == ["1", "1", "1", "4", "1", "1"]
    assert _column(table, "p50 ms")[2:4] == ["9.00", "1.00"]


def test_the_size_of_c_is_its_flash(report: dict[str, Any]) -> None:
    sources = {"path": "c", "format": "c", "precision": "int8", "io": "int8", "target": "cortex-m4", "bytes": 5_000_000}
    report["artifacts"].append(sources)
    table = artifacts(report)
    assert _column(table, "size")[-1] == "1.82 MiB"
    assert "The size of C sources is what they take in flash." in table.notes
    report["memory"][0]["flash_bytes"] = None
    assert _column(artifacts(report), "size")[-1] == "–"


def test_random_weights_have_no_accuracy_columns(report: dict[str, Any]) -> None:
    report["accuracy"] = []
    assert not any("top-1" in column or "float" in column for column in artifacts(report).columns)


def test_other_tasks_show_their_metrics(report: dict[str, Any]) -> None:
    report["accuracy"] = [
        {"artifact": row["artifact"], "device": "local", "images": 9, "map50": 0.8, "map": 0.4}
        for row in report["accuracy"]
    ]
    table = artifacts(report)
    assert _column(table, "mAP at IoU 0.5 %") == ["80.00"] * 4
    assert _column(table, "mAP %") == ["40.00"] * 4
    assert _column(table, "against float")[1] == "±0.0"


def test_failed_gates_come_first(report: dict[str, Any]) -> None:
    table = gates(report)
    assert _column(table, "verdict") == ["FAIL", "pass", "pass"]
    assert table.rows[0][0].tone == "bad"


def test_float_ops_stand_out(report: dict[str, Any]) -> None:
    report["int8"][0]["float_ops"] = ["SOFTMAX scores"]
    table = next(table for table in tables(report) if table.title == "int8")
    assert table.rows[0][2].text == "1"
    assert table.rows[0][2].tone == "bad"


def test_rows_are_as_long_as_the_columns_and_empty_tables_are_left_out(report: dict[str, Any]) -> None:
    assert [table.title for table in tables(report)] == ["Artifacts", "int8", "Parity", "Memory, bytes", "Gates"]
    for table in tables(report):
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert tables({}) == []
