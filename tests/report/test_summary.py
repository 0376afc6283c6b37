from typing import Any

from mnedge.report.summary import against_float, float_op_count, float_peer, headline, lines, metrics, short_name


def test_one_line_for_each_artifact_joins_what_was_measured(report: dict[str, Any]) -> None:
    found = lines(report)
    assert [line.short for line in found] == ["fp32.tflite", "int8.tflite", "fp32.onnx", "int8.onnx"]
    assert [line.key for line in found] == list("ABCD")
    for line, accuracy, latency in zip(found, report["accuracy"], report["latency"], strict=True):
        assert line.accuracy is accuracy
        assert line.latency is latency


def test_a_second_device_and_a_second_thread_count_are_lines_of_their_own(report: dict[str, Any]) -> None:
    name = report["artifacts"][1]["path"]
    report["latency"].append({"artifact": name, "device": "local", "threads": 4, "p50_ms": 1.1, "runtime": "x"})
    report["latency"].append({"artifact": name, "device": "ssh://pi", "threads": 1, "p50_ms": 30.0, "runtime": "x"})
    report["accuracy"].append({"artifact": f"elsewhere/{name}", "device": "adb://7", "top1": 0.5})
    places = [(line.device, line.p50_ms, line.accuracy.get("top1")) for line in lines(report) if line.name == name]
    here = report["accuracy"][1]["top1"]
    assert places[1:] == [("local", 1.1, here), ("ssh://pi", 30.0, None), ("adb://7", None, 0.5)]


def test_int8_tflite_is_the_headline_and_float_of_its_format_its_peer(report: dict[str, Any]) -> None:
    found = lines(report)
    line = headline(found)
    assert line is not None
    assert line.short == "int8.tflite"
    peer = float_peer(line, found)
    assert peer is not None
    assert peer.short == "fp32.tflite"
    assert float_peer(peer, found) is None
    versus = against_float(line, found, "top1")
    assert versus is not None
    assert versus.smaller == 6_118_292 / 1_843_200
    assert versus.accuracy is not None
    assert versus.accuracy.shown is False
    worse = against_float(found[3], found, "top1")
    assert worse is not None
    assert worse.accuracy is not None
    assert worse.accuracy.shown is True


def test_an_empty_report_has_no_lines() -> None:
    assert lines({}) == []
    assert metrics({}) == []
    assert headline([]) is None


def test_float_ops_are_counted_or_named() -> None:
    rows: list[dict[str, Any]] = [
        {},
        {"float_ops": 0},
        {"float_ops": 3},
        {"float_ops": ["A x", "B y"]},
        {"float_ops": []},
    ]
    assert [float_op_count(row) for row in rows] == [0, 0, 3, 2, 0]


def test_only_a_whole_slug_is_cut_off() -> None:
    assert short_name("net_1.0.int8.tflite", "net_1.0") == "int8.tflite"
    assert short_name("network.tflite", "net_1.0") == "network.tflite"
    assert short_name("net", "net") == "net"
