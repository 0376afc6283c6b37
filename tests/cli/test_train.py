"""`mnedge train`: wrong input is one message and exit 2, Ctrl-C says how to go on, and `build` takes the result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.cli import _run
from mnedge.models import Variant
from mnedge.models.build import build_model

NETWORK = ["--variant", "v2", "--alpha", "0.35", "--resolution", "32"]
SHORT = ["--head-epochs", "20", "--epochs", "1", "--from-layer", "block_16_project", "--augment", "none"]
NAMES = ("daisy", "тюльпан")


def _pictures(root: Path, names: tuple[str, ...] = NAMES, count: int = 15) -> Path:
    for index, name in enumerate(names):
        for number in range(count):
            path = root / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(100 * index + number).integers(0, 90, (6, 6, 3))
            noise[..., index % 3] += 150
            Image.fromarray(noise.astype(np.uint8)).resize((44, 44), Image.Resampling.BICUBIC).save(path)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "old.weights.h5"
    build_model(Variant("v2", 0.35, 32, classes=4), "random", seed=4).save_weights(path)
    return str(path)


@pytest.mark.slow
@pytest.mark.usefixtures("private_cache")
def test_from_a_folder_to_int8_with_the_names_of_its_classes(
    tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = str(_pictures(tmp_path / "d")), tmp_path / "my.keras"
    tensorboard = tmp_path / "logs"
    flags = [*SHORT, "--weights", weights, "--tensorboard", str(tensorboard), "--json"]
    network = ["--variant", "v2", "--alpha", "0.35", "--resolution", "64"]
    assert _run(["train", "--data", data, *network, *flags, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["top1"] > 0.5
    assert report["model"]["path"] == "my.keras"
    assert "head 20/20: loss" in printed.err
    assert {path.name for path in tensorboard.iterdir()} == {"head", "fine-tune"}
    built = ["build", *network, "--weights", str(out), "--data", data, "--int8", "--effort", "fast", "--json"]
    assert _run([*built, "--out", str(tmp_path / "b")]) == 0
    rows = json.loads(capsys.readouterr().out)["accuracy"]
    assert (tmp_path / "b" / "labels.txt").read_text().splitlines() == sorted(NAMES)
    float_top1 = next(row["top1"] for row in rows if row["artifact"].endswith("fp32.tflite"))
    assert float_top1 == pytest.approx(report["top1"])
    other = str(_pictures(tmp_path / "other", ("daisy", "oak")))
    assert _run(["build", *network, "--weights", str(out), "--data", other]) == 2
    assert "class 1 is 'oak'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "count", "flags", "said"),
    [
        (("rose",), 5, [], "has one class, 'rose'"),
        (NAMES, 1, [], "too few to train on"),
        (NAMES, 9, ["--from-layer", "blok_16_project"], "did you mean 'block_16_project'"),
        (NAMES, 9, ["--out", "my.h5"], "--out my.h5 does not end in .keras"),
        (NAMES, 9, ["--weights", "nowhere.h5"], "no weights file nowhere.h5"),
        (NAMES, 9, ["--resolution", "8"], "resolution 8 is too small"),
        (NAMES, 9, ["--epochs", "0", "--head-epochs", "0"], "nothing would be trained"),
        (NAMES, 9, ["--learning-rate", "7"], "learning_rate is 7.0"),
        (NAMES, 9, ["--alpha", "0.5"], "does not hold v2 with alpha 0.5"),
    ],
)
@pytest.mark.usefixtures("private_cache")
def test_wrong_input_is_one_message(
    names: tuple[str, ...],
    count: int,
    flags: list[str],
    said: str,
    tmp_path: Path,
    weights: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, out = str(_pictures(tmp_path / "d", names, count)), str(tmp_path / "my.keras")
    assert _run(["train", "--data", data, *NETWORK, "--weights", weights, "--out", out, *flags]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert len(printed.err.splitlines()) == 1
    assert printed.out == ""
    assert not Path(out).exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--class-weights", "ballanced"], "'ballanced' is not one of 'balanced', 'none'"),
        (["--precision", "float8"], "'float8' is not one of 'float32', 'mixed_float16', 'mixed_bfloat16'"),
        (["--augment", "strong"], "'strong' is not one of 'none', 'light', 'default'"),
        (["--epochs", "many"], "Invalid value for '--epochs'"),
    ],
)
def test_a_wrong_choice_names_the_choices(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["train", "--data", "demo", "--out", "my.keras", *flags]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("private_cache")
def test_a_split_of_the_folder_s_own_takes_no_seed(
    tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val"):
        _pictures(tmp_path / "d" / split)
    flags = ["--weights", weights, "--split-seed", "3", "--out", str(tmp_path / "my.keras")]
    assert _run(["train", "--data", str(tmp_path / "d"), *NETWORK, *flags]) == 2
    assert "comes with its own splits" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_leaves_no_file_and_says_how_to_go_on(tmp_path: Path, weights: str) -> None:
    data = str(_pictures(tmp_path / "d"))
    args = ["train", "--data", data, *NETWORK, *SHORT, "--epochs", "500", "--patience", "500", "--weights", weights]
    with subprocess.Popen(
        [sys.executable, "-m", "mnedge", *args, "--out", str(tmp_path / "my.keras")],
        env={**os.environ, "MNEDGE_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("fine-tune 2/500"):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait() == 130
    assert "run the same command again to go on from there" in rest
    assert "Traceback" not in rest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "d"]
    # Nothing half-made stays in the cache, only what a resumed run needs.
    assert not list((tmp_path / "cache").glob(".*"))
    assert list((tmp_path / "cache").glob("transfer-work-*"))
