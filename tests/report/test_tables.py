from dataclasses import replace

from mnedge.report.tables import Table, artifacts, gates, tables
from mnedge.results.accuracy import Figures
from mnedge.results.report import ArtifactRow, LayerBits, Report


def _column(table: Table, name: str) -> list[str]:
    place = [column.lstrip(">") for column in table.columns].index(name)
    return [row[place].text for row in table.rows]


def test_artifacts_are_held_against_float(report: Report) -> None:
    table = artifacts(report)
    assert _column(table, "artifact") == ["fp32.tflite", "int8.tflite", "fp32.onnx", "int8.onnx"]
    assert _column(table, "smaller") == ["", "3.32×", "", "3.40×"]
    assert _column(table, "top-1 %") == ["97.65", "96.98", "97.65", "70.35"]
    # 0.7 points are less than 597 pictures can tell apart, 27 are not.
    assert _column(table, "against float") == ["", "−0.7", "", "−27.3*"]
    assert _column(table, "faster") == ["", "2.39×*", "", "1.54×*"]
    assert any("measurements show" in note for note in table.notes)


def test_nothing_is_starred_without_a_shown_difference(report: Report) -> None:
    latency = tuple(replace(row, p90_ms=20.0) for row in report.latency)
    table = artifacts(replace(report, accuracy=report.accuracy[:3], latency=latency))
    assert not any("*" in note for note in table.notes)
    assert _column(table, "top-1 %")[3] == "–"


def test_several_devices_and_thread_counts_get_columns(report: Report) -> None:
    assert not {"device", ">threads"} & set(artifacts(report).columns)
    row = report.latency[1]
    more = (replace(row, device="ssh://pi@pi5", p50_ms=9.0), replace(row, threads=4, p50_ms=1.0))
    table = artifacts(replace(report, latency=(*report.latency, *more)))
    assert _column(table, "device") == ["local", "local", "ssh://pi@pi5", "local", "local", "local"]
    assert _column(table, "threads") == ["1", "1", "1", "4", "1", "1"]
    assert _column(table, "p50 ms")[2:4] == ["9.00", "1.00"]


def test_the_size_of_c_is_its_flash(report: Report) -> None:
    sources = ArtifactRow("c", "c", "int8", "int8", "cortex-m4", 5_000_000, "0" * 64)
    with_c = replace(report, artifacts=(*report.artifacts, sources))
    table = artifacts(with_c)
    assert _column(table, "size")[-1] == "1.82 MiB"
    assert "The size of C sources is what they take in flash." in table.notes
    unknown = replace(with_c, memory=(replace(with_c.memory[0], flash_bytes=None),))
    assert _column(artifacts(unknown), "size")[-1] == "–"


def test_bits_of_layers_come_with_what_they_bring_and_cost(report: Report) -> None:
    title = "Bits of activations"
    assert title not in [table.title for table in tables(report)]
    rows = (
        LayerBits("conv", "CONV_2D", 16, 0.125, 0.034),
        LayerBits("swish", "HARD_SWISH", 8, 0.01),
        LayerBits("mean", "MEAN", 8, 0.009, 0.5),
        LayerBits("flat", "RESHAPE", 8),
    )
    table = next(table for table in tables(replace(report, layers=rows)) if table.title == title)
    assert [_column(table, name) for name in ("layer", "bits")] == [["conv", "swish"], ["16", "8"]]
    assert _column(table, "share of the error %") == ["12.50", "1.00"]
    assert _column(table, "cost %") == ["3.40", "–"]
    assert table.notes[0] == "2 other layers at 8 bits bring less than 1 % of the error each."
    assert "on this machine" in table.notes[1]
    unmeasured = replace(report, layers=(LayerBits("conv", "CONV_2D", 16),))
    assert next(table for table in tables(unmeasured) if table.title == title).notes == ()


def test_random_weights_have_no_accuracy_columns(report: Report) -> None:
    columns = artifacts(replace(report, accuracy=())).columns
    assert not any("top-1" in column or "float" in column for column in columns)


def test_other_tasks_show_their_metrics(report: Report) -> None:
    figures = Figures({"map50": 0.8, "map": 0.4})
    table = artifacts(replace(report, accuracy=tuple(replace(row, figures=figures) for row in report.accuracy)))
    assert _column(table, "mAP at IoU 0.5 %") == ["80.00"] * 4
    assert _column(table, "mAP %") == ["40.00"] * 4
    assert _column(table, "against float")[1] == "±0.0"


def test_failed_gates_come_first(report: Report) -> None:
    table = gates(report)
    assert _column(table, "verdict") == ["FAIL", "pass", "pass"]
    assert table.rows[0][0].tone == "bad"


def test_float_ops_stand_out(report: Report) -> None:
    mixed = replace(report, int8=(replace(report.int8[0], float_ops=1, float_op_names=("SOFTMAX scores",)),))
    table = next(table for table in tables(mixed) if table.title == "int8")
    assert table.rows[0][2].text == "1"
    assert table.rows[0][2].tone == "bad"


def test_rows_are_as_long_as_the_columns_and_empty_tables_are_left_out(report: Report, empty: Report) -> None:
    assert [table.title for table in tables(report)] == ["Artifacts", "int8", "Parity", "Memory, bytes", "Gates"]
    for table in tables(report):
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert tables(empty) == []
