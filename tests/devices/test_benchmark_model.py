"""What the two benchmark_model programs print: lines as users posted them in public issues."""

from __future__ import annotations

import pytest

from mnedge.devices._benchmark_model import Delegation, Program, delegation, input_flags, parse
from mnedge.errors import ToolError
from mnedge.runtimes import TensorSpec

# github.com/tensorflow/tensorflow/issues/42507
CLASSIC = """STARTING!
Loaded model /data/local/tmp/espcn_harmonic_2x_slim_w_cl.tflite
Initialized session in 0.855ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=15 first=49060 curr=33682 min=32825 max=49060 avg=34825.1 std=3930

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=50 first=32891 curr=33978 min=32641 max=34005 avg=33209.4 std=450

Inference timings in us: Init: 855, First inference: 49060, Warmup (avg): 34825.1, Inference (avg): 33209.4
"""
# github.com/yuenshome/yuenshome.github.io/issues/77
BEFORE_2020 = """count=13 first=39195 curr=37526 min=37464 max=39195 avg=37625.7 std=453
count=15 first=66753 curr=66800 min=66699 max=66838 avg=66767.6 std=39

Average inference timings in us: Warmup: 76605.9, Init: 9933, no stats: 66767.6
"""
# github.com/mlcommons/mobile_app_open/issues/1134
LITERT = """========== BENCHMARK RESULTS ==========
INFO: [benchmark_litert_model.h:94] Model initialization: 23744.73 ms
INFO: [benchmark_litert_model.h:96] Warmup (first):       7441.04 ms
INFO: [benchmark_litert_model.h:98] Warmup (avg):         7441.04 ms (1 runs)
INFO: [benchmark_litert_model.h:100] Inference (avg):      7430.20 ms (10 runs)
INFO: [benchmark_litert_model.h:104] Inference (min):      7416.40 ms
"""


@pytest.mark.parametrize(
    ("log", "mean_ms", "runs"), [(CLASSIC, 33.2094, 50), (BEFORE_2020, 66.7676, 15), (LITERT, 7430.20, 10)]
)
def test_every_format_is_read(log: str, mean_ms: float, runs: int) -> None:
    found = parse(log)
    assert (found.mean_ms, found.runs) == (pytest.approx(mean_ms), runs)


def test_a_log_without_a_time_is_an_error() -> None:
    with pytest.raises(ToolError, match="Failed to load graph"):
        parse("ERROR: Failed to load graph x.tflite")


@pytest.mark.parametrize(
    ("log", "accelerator", "expected"),
    [
        ("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.", "cpu", Delegation("XNNPACK", None)),
        ("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.", "gpu", Delegation("no delegate", 0)),
        (
            "Replacing 64 out of 66 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 2 partitions",
            "cpu",
            Delegation("XNNPACK", 2),
        ),
        (
            "Replacing 64 out of 66 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 2 partitions",
            "npu",
            Delegation("no delegate", 0),
        ),
        (
            "Explicitly applied GPU delegate, and the model graph will be partially executed w/ 3 delegate kernels.",
            "gpu",
            Delegation("GPU", 3),
        ),
        (
            "Explicitly applied NNAPI delegate, and the model graph will be completely executed by the delegate.",
            "npu",
            Delegation("NNAPI", 1),
        ),
        ("STARTING!", "cpu", Delegation("no delegate", 0)),
    ],
)
def test_only_the_delegate_that_was_asked_for_counts(log: str, accelerator: str, expected: Delegation) -> None:
    assert delegation(log, accelerator) == expected


def test_help_tells_what_a_program_can_do() -> None:
    classic = Program.from_help("b", "--graph=\n--input_layer_value_files=\n--output_filepath=\n--use_nnapi=false")
    litert = Program.from_help("b", "--graph=\n--use_gpu=false\n--use_npu=false")
    assert (classic.writes_outputs, classic.flags("npu", 4)) == (True, ["--num_threads=4", "--use_nnapi=true"])
    assert (litert.writes_outputs, litert.flags("npu", 1)) == (False, ["--num_threads=1", "--use_npu=true"])
    with pytest.raises(ToolError, match="no benchmark_model"):
        Program.from_help("/bin/ls", "usage: ls [FILE]")


def test_a_name_that_the_flags_cannot_carry_is_refused() -> None:
    assert input_flags(TensorSpec("image", (1, 8, 8, 3), "int8"), "/x")[1] == "--input_layer_shape=1,8,8,3"
    with pytest.raises(ToolError, match="rename it"):
        input_flags(TensorSpec("serving_default_image:0", (1, 8, 8, 3), "int8"), "/x")
