from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph
from mnedge.runtimes._runtime import TensorSpec
from mnedge.validation.latency import Timing, compare, median_spread, random_input, sustained, time_in_turns
from mnedge.validation.op_latency import by_kind, op_latency
from mnedge.workflows.bench import bench


@pytest.fixture
def files(tmp_path: Path, small_int8: Graph) -> list[Path]:
    tflite, onnx = tmp_path / "small.tflite", tmp_path / "small.onnx"
    tflite.write_bytes(write_tflite(small_int8))
    onnx.write_bytes(write_onnx(small_int8))
    return [tflite, onnx]


def _timing(name: str, rounds: Any) -> Timing:
    return Timing(Path(name), "runtime", 1, None, tuple(np.asarray(runs, float) for runs in rounds), stable=True)


def test_rows_have_the_fields_of_the_contract(files: list[Path]) -> None:
    timings = time_in_turns(files, threads=1, seconds=0.05)
    rows = [timing.row() for timing in timings]
    for row, timing, path in zip(rows, timings, files, strict=True):
        assert (row.artifact, row.device, row.threads) == (path.name, "local", 1)
        assert row.p99_ms is not None
        assert 0 < row.p50_ms <= row.p90_ms <= row.p99_ms
        assert row.runs == timing.samples_ms.size >= 36
    assert "litert" in rows[0].runtime
    assert "onnxruntime" in rows[1].runtime
    assert rows[0].partitions == 1


def test_artifacts_take_turns_in_every_round(files: list[Path]) -> None:
    timings = time_in_turns([*files, files[0]], seconds=0.05)
    assert len({len(timing.rounds_ms) for timing in timings}) == 1
    assert len(timings[0].rounds_ms) >= 12


def test_timing_ends_once_medians_are_known_well_enough(files: list[Path]) -> None:
    shares: list[float] = []
    timings = time_in_turns(files, seconds=0.3, enough=np.inf, progress=shares.append)
    looks = shares[11::12]
    assert len(timings[0].rounds_ms) == len(shares) == 12 * len(looks)
    assert looks[-1] >= 1 / 3 > max(looks[:-1], default=0.0)
    whole: list[float] = []
    time_in_turns(files, seconds=0.1, enough=-1.0, progress=whole.append)
    assert whole[-1] == 0.99


def test_the_spread_of_a_median_holds_its_promise() -> None:
    rng = np.random.default_rng(0)
    spreads, misses = [], []
    for _ in range(300):
        rounds = rng.lognormal(0.0, 0.2, (40, 1))
        spreads.append(median_spread(list(rounds)))
        misses.append(abs(np.median(rounds) / 1.0 - 1))
    # A fifth of spread over 40 rounds: 1.253 * 0.2 / sqrt(40) is a standard error of 4 %.
    assert 0.06 < np.mean(spreads) < 0.11
    assert np.mean(np.array(misses) > np.array(spreads)) < 0.1
    assert median_spread([np.full(3, 2.0)] * 12) == 0.0


def test_a_difference_that_the_interval_shows_is_called_one() -> None:
    rng = np.random.default_rng(0)
    slow, fast = (rng.normal(mean, 0.05, (30, 10)) for mean in (2.0, 1.0))
    ratio = compare([_timing("a", slow), _timing("b", fast), _timing("c", slow * 2)])
    assert ratio[0].verdict == "faster"
    assert ratio[0].low < 2.0 < ratio[0].high
    assert ratio[0].high - ratio[0].low < 0.2
    assert ratio[1].verdict == "slower"


def test_equal_artifacts_are_not_called_different() -> None:
    wrong = 0
    for seed in range(40):
        one, other = np.random.default_rng(seed).lognormal(0, 0.3, (2, 20, 5))
        wrong += compare([_timing("a", one), _timing("b", other)])[0].verdict != "no difference shown"
    # A 95 % interval is wrong one time in twenty.
    assert wrong <= 7


def test_a_machine_that_slows_down_does_not_move_the_ratio() -> None:
    rng = np.random.default_rng(1)
    drift = np.linspace(1.0, 3.0, 40)[:, None]
    slow, fast = (rng.normal(mean, 0.02, (40, 10)) * drift for mean in (1.5, 1.0))
    ratio = compare([_timing("a", slow), _timing("b", fast)])[0]
    assert ratio.speedup == pytest.approx(1.5, rel=0.05)
    assert ratio.verdict == "faster"


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
def test_random_input_fills_the_range_of_its_dtype(dtype: str) -> None:
    values = random_input(TensorSpec("x", (1, 64, 64, 3), dtype))
    assert values.dtype == dtype
    limits = (-1.0, 1.0) if dtype == "float32" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    assert values.min() == pytest.approx(limits[0], abs=0.01)
    assert values.max() == pytest.approx(limits[1], abs=0.01)


def test_sustained_gives_one_entry_a_bin(files: list[Path]) -> None:
    rows = sustained(files[0], seconds=0.3, bin_s=0.1)
    # On a machine that gives this process no time a bin may outlast its end.
    assert 1 <= len(rows) <= 3
    assert rows[-1].seconds >= 0.3
    assert all(row.seconds >= 0.1 * (place + 1) for place, row in enumerate(rows))
    assert all(row.runs >= 1 for row in rows)


def test_ops_are_timed_one_by_one(files: list[Path], small_int8: Graph) -> None:
    rows = op_latency(files[0])
    assert [row.op for row in rows] == [op.kind for op in small_int8.ops]
    assert all(row.ms >= 0 for row in rows)
    kinds = by_kind(rows)
    assert sum(row.share for row in kinds) == pytest.approx(1.0)
    assert {"QLinearConv", "QLinearSoftmax"} <= {row.op for row in op_latency(files[1])}


def test_bench_compares_with_the_first(files: list[Path]) -> None:
    result = bench(files, seconds=0.05, ops=True)
    assert [row.artifact for row in result.latency] == ["small.tflite", "small.onnx"]
    assert result.ratios[0].reference == "small.tflite"
    assert result.ratios[0].verdict in ("faster", "slower", "no difference shown")
    assert result.conditions.cores >= 1
    assert set(result.ops or {}) == {"small.tflite", "small.onnx"}


def test_bench_names_what_it_cannot_do(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        bench([tmp_path / "absent.tflite"])
    with pytest.raises(UnsupportedError, match="this machine only"):
        bench(files, ["ssh://pi@board"], ops=True)
    with pytest.raises(InputError, match="no runtime loads"):
        bench([Path(__file__)])
