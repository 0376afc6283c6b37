import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from mnedge.files import sha256
from mnedge.workflows.bundle import bundle
from mnedge.workflows.release import Release

_SLUG = "mobilenet_v1_0.25_48"


@pytest.fixture(scope="module")
def mobile(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mobile") / "bundle"
    bundle(built, "onnxruntime-mobile", out, Release(license="Apache-2.0"))
    return out


def test_both_files_run_and_agree(mobile: Path) -> None:
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 48, 48, 3)).astype(np.float32)
    outputs = []
    for suffix in ("onnx", "ort"):
        session = onnxruntime.InferenceSession(mobile / f"{_SLUG}.int8.{suffix}", providers=["CPUExecutionProvider"])
        source = session.get_inputs()[0]
        shaped = picture if source.shape[3] == 3 else picture.transpose(0, 3, 1, 2)
        outputs.append(session.run(None, {source.name: shaped})[0])
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1.01 / 256)


def test_the_same_build_gives_the_same_bytes(mobile: Path, built: Path, tmp_path: Path) -> None:
    bundle(built, "onnxruntime-mobile", tmp_path / "again", Release(license="Apache-2.0"))
    assert sha256(tmp_path / "again") == sha256(mobile)


def test_the_model_carries_its_labels(mobile: Path) -> None:
    session = onnxruntime.InferenceSession(mobile / f"{_SLUG}.int8.onnx", providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["labels"]) == [str(digit) for digit in range(10)]
    assert said["license"] == "Apache-2.0"
    prepared = json.loads(said["preprocessing"])
    assert (prepared["height"], prepared["width"]) == (48, 48)
    onnx.checker.check_model(mobile / f"{_SLUG}.int8.onnx")


def test_the_required_operators_are_a_reduced_builds(mobile: Path) -> None:
    lines = (mobile / f"{_SLUG}.required_operators.config").read_text().splitlines()
    assert lines
    for line in lines:
        domain, opset, operators = line.split(";")
        assert domain in ("ai.onnx", "com.microsoft", "com.ms.internal.nhwc")
        assert opset.isdecimal()
        assert operators


def test_apps_get_kotlin_swift_a_version_and_no_telemetry(mobile: Path) -> None:
    text = (mobile / "README.md").read_text()
    assert "onnxruntime-android:1." in text
    assert 'onnxruntime-swift-package-manager", exact: "1.' in text
    assert "Version 1.0.0." in text
    assert "## Telemetry" in text
    kotlin, swift = ((mobile / f"OnnxModel.{suffix}").read_text() for suffix in ("kt", "swift"))
    assert kotlin.index("setTelemetry(false)") < kotlin.index("createSession(")
    assert swift.index('setenv("ORT_DISABLE_TELEMETRY", "1", 1)') < swift.index("ORTEnv(loggingLevel")
    for written in (text, kotlin, swift):
        assert "@" not in written


# The part of Kotlin's library that closes what is AutoCloseable.
_CLOSES = Path("/usr/share/java/kotlin-stdlib-jdk7.jar")
# As an app calls the class.
_RUN = """
import java.io.File

fun main() {
    val picture = ByteArray(48 * 48 * 3) { (it * 7).toByte() }
    @PACKAGE@.OnnxModel(ByteArray(0)).use { model ->
        val values = model.run(picture)
        File(System.getProperty("assets"), "values").writeText(values.joinToString { it.joinToString() })
    }
}
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kotlinc") is None or not _CLOSES.is_file(), reason="no kotlinc")
def test_the_kotlin_compiles(mobile: Path, tmp_path: Path) -> None:
    stubs = Path(__file__).parent / "android_stubs"
    (tmp_path / "stubs").mkdir()
    sources = [str(path) for path in (stubs / "ai" / "onnxruntime").glob("*.java")]
    subprocess.run(["javac", "-d", tmp_path / "stubs", *sources], check=True)
    package = next(line.split(" ")[1] for line in (mobile / "OnnxModel.kt").read_text().splitlines())
    (tmp_path / "main.kt").write_text(_RUN.replace("@PACKAGE@", package))
    command = [
        "kotlinc",
        mobile / "OnnxModel.kt",
        tmp_path / "main.kt",
        "-cp",
        f"{tmp_path / 'stubs'}:{_CLOSES}",
        "-d",
        tmp_path / "a.jar",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
