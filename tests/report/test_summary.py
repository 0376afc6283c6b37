from dataclasses import replace

from mnedge.report.summary import against_float, float_peer, headline, lines, metrics, short_name
from mnedge.results.accuracy import AccuracyRow, Figures
from mnedge.results.latency import LatencyRow
from mnedge.results.report import Report


def test_one_line_for_each_artifact_joins_what_was_measured(report: Report) -> None:
    found = lines(report)
    assert [line.short for line in found] == ["fp32.tflite", "int8.tflite", "fp32.onnx", "int8.onnx"]
    assert [line.key for line in found] == list("ABCD")
    for line, accuracy, latency in zip(found, report.accuracy, report.latency, strict=True):
        assert line.accuracy is accuracy
        assert line.latency is latency


def test_a_second_device_and_a_second_thread_count_are_lines_of_their_own(report: Report) -> None:
    name = report.artifacts[1].path
    more = (LatencyRow(name, "x", "local", 4, 1.1, 1.2), LatencyRow(name, "x", "ssh://pi", 1, 30.0, 31.0))
    away = AccuracyRow(f"elsewhere/{name}", "x", "adb://7", "demo", 9, Figures({"top1": 0.5}))
    several = replace(report, latency=(*report.latency, *more), accuracy=(*report.accuracy, away))
    places = [(line.device, line.p50_ms, line.metric("top1")) for line in lines(several) if line.name == name]
    here = report.accuracy[1].metric("top1")
    assert places[1:] == [("local", 1.1, here), ("ssh://pi", 30.0, None), ("adb://7", None, 0.5)]


def test_int8_tflite_is_the_headline_and_float_of_its_format_its_peer(report: Report) -> None:
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


def test_an_empty_report_has_no_lines(empty: Report) -> None:
    assert lines(empty) == []
    assert metrics(empty) == []
    assert headline([]) is None


def test_only_a_whole_slug_is_cut_off() -> None:
    assert short_name("net_1.0.int8.tflite", "net_1.0") == "int8.tflite"
    assert short_name("network.tflite", "net_1.0") == "network.tflite"
    assert short_name("net", "net") == "net"
