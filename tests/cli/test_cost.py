import json
from pathlib import Path

import pytest

from mnedge.cli import main


def _run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(list(args))
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_json_stands_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = _run(capsys, "cost", "--variant", "v1", "--json")
    result = json.loads(out)
    assert (code, err) == (0, "")
    assert result["parameters"] == 4_253_864
    assert result["macs"] == 568_740_352
    assert result["standard_convolution"] == {"parameters": 29_306_056, "macs": 4_867_293_184}
    assert sum(layer["macs"] for layer in result["layers"]) == result["macs"]
    assert sum(layer["parameters"] for layer in result["layers"]) == result["parameters"]


def test_the_table_shows_layers_totals_and_both_figures(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "cost", "--variant", "v3-small-minimalistic")
    assert code == 0
    for expected in ("expanded_conv_10_depthwise", "52,288,448", "standard convolutions", "65 M printed"):
        assert expected in out


def test_any_width_resolution_and_class_count(capsys: pytest.CaptureFixture[str]) -> None:
    args = ("--variant", "v2", "--alpha", "0.3", "--resolution", "81", "--classes", "3", "--json")
    code, out, _ = _run(capsys, "cost", *args)
    assert code == 0
    assert json.loads(out)["layers"][-1]["output_shape"] == [1, 1, 3]
    assert json.loads(out)["published"] == []


@pytest.mark.parametrize(
    ("args", "said"),
    [(("--variant", "v3smal"), "v3-small"), (("--variant", "v1", "--resolution", "16"), "the smallest is 32")],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...], said: str
) -> None:
    code, out, err = _run(capsys, "cost", *args)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_variants_lists_every_published_row(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "variants", "--json")
    rows = json.loads(out)
    assert code == 0
    assert len({row["slug"] for row in rows}) == 16 + 22 + 6 + 19
    by_slug = {row["slug"]: row for row in rows}
    assert by_slug["mobilenet_v1_0.25_192"]["published"]["macs_verdict"] == "differs"
    assert by_slug["mobilenet_v2_1.0_224"]["published"]["remark"] == ""


def test_variants_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = _run(capsys, "variants")
    assert "34 M printed" in out


def test_compare_prints_three_tables_with_sources(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "cost", "--compare")
    assert code == 0
    for expected in ("Classification", "Detection", "Segmentation", "VGG-16", "15.5 G", "138 M", "arXiv:1704.04861"):
        assert expected in out
    assert "times the MACs" not in out


def test_compare_holds_all_against_a_variant(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "cost", "--compare", "--variant", "v2", "--alpha", "0.35")
    assert code == 0
    assert "times the MACs" in out
    vgg = next(line for line in out.splitlines() if "VGG-16" in line)
    # 15,470 M against 59.3 M.
    assert "261" in vgg


def test_compare_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = _run(capsys, "cost", "--compare", "--json")
    benchmarks = json.loads(out)["benchmarks"]
    assert (code, err) == (0, "")
    assert [benchmark["metric"] for benchmark in benchmarks] == ["top1", "map", "mean_iou"]
    vgg = next(row for row in benchmarks[0]["networks"] if row["name"] == "VGG-16")
    assert (vgg["parameters"], vgg["macs"]) == (138_357_544, 15_470_264_320)
    assert vgg["printed"] == {"parameters_millions": 138, "macs_billions": 15.3}


@pytest.mark.parametrize("suffix", ["html", "svg"])
def test_compare_draws(capsys: pytest.CaptureFixture[str], tmp_path: Path, suffix: str) -> None:
    plot = tmp_path / f"networks.{suffix}"
    code, out, _ = _run(capsys, "cost", "--compare", "--plot", str(plot))
    assert code == 0
    assert str(plot) in out
    text = plot.read_text()
    assert "SqueezeNet" in text
    assert "<svg" in text


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--compare", "--plot", "networks.png"), ".html or .svg"),
        (("--variant", "v1", "--plot", "networks.svg"), "--compare"),
        ((), "--variant"),
    ],
)
def test_what_does_not_go_together_is_said(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...], said: str
) -> None:
    code, out, err = _run(capsys, "cost", *args)
    assert (code, out) == (2, "")
    assert said in err
