"""Runtimes of an Android app: one row each, with model file, Kotlin, Gradle line and keep rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from mnedge.choices import AndroidRuntime
from mnedge.errors import InputError

NAMES: tuple[AndroidRuntime, ...] = get_args(AndroidRuntime)

# LiteRT 1.4 is the first whose native libraries are aligned to 16 KB pages, which Google Play asks for since
# November 2025; CompiledModel is of LiteRT 2. ONNX Runtime has such pages since 1.22.
_LITERT, _MEDIAPIPE, ONNX = "2.1.0", "0.10.29", "1.22.0"
KOTLIN = Path(__file__).parent / "_kotlin"
_CAMERA = ("AnswerView", "CameraPictures", "CameraActivity")

# R8 renames what native code, generated protocol buffers and a logger's walk of the stack look up by name.
_KEEP_TASKS = """\
-keep class com.google.mediapipe.** { *; }
-keepclassmembers class * extends com.google.protobuf.GeneratedMessageLite { *; }
-keep class com.google.common.flogger.** { *; }
-dontwarn com.google.mediapipe.**
-dontwarn com.google.auto.value.**
-dontwarn javax.lang.model.**
"""
_KEEP_LITERT = """\
-keep class com.google.ai.edge.litert.** { *; }
-dontwarn com.google.ai.edge.litert.**
"""
_KEEP_ONNX = """\
-keep class ai.onnxruntime.** { *; }
"""


@dataclass(frozen=True)
class Flavour:
    """An Android app's runtime.

    Attributes:
        title: Name.
        model: File of the model, after the slug.
        takes: Input of the model, and further inputs of the app.
        dependency: Line of build.gradle.kts.
        keep: Rules for R8, the shrinker of release builds.
        engine: Kotlin class that runs the model; "" where the task's own class does.
    """

    title: str
    model: str
    takes: str
    dependency: str
    keep: str
    engine: str = ""

    def asked(self, model: str) -> str:
        """The Kotlin class that an app of this `AndroidApp.model` asks."""
        return model if self.engine else f"Tasks{model}"

    def kotlin(self, model: str) -> dict[str, str]:
        """Kotlin files by name, with @WORDS@ to fill in."""
        own = ("PictureReader", self.engine) if self.engine else ()
        names = ("ModelFile", *own, self.asked(model), *_CAMERA)
        return {f"{name}.kt": (KOTLIN / f"{name}.kt").read_text(encoding="utf-8") for name in names}


_FLAVOURS: dict[AndroidRuntime, Flavour] = {
    "tasks": Flavour(
        title="MediaPipe Tasks",
        model="uint8.tflite",
        takes="@TAKERS@ and LiteRT's Interpreter take it: 8-bit RGB in@LABELS_INSIDE@",
        dependency=f'implementation("com.google.mediapipe:tasks-vision:{_MEDIAPIPE}")',
        keep=_KEEP_TASKS,
    ),
    "litert": Flavour(
        title="LiteRT's CompiledModel",
        model="int8.tflite",
        takes="it takes pixel - 128, since CompiledModel has no uint8 tensors",
        dependency=f'implementation("com.google.ai.edge.litert:litert:{_LITERT}")',
        keep=_KEEP_LITERT,
        engine="LiteRtModel",
    ),
    "onnx": Flavour(
        title="ONNX Runtime",
        model="int8.onnx",
        takes="real values in and out",
        dependency=f'implementation("com.microsoft.onnxruntime:onnxruntime-android:{ONNX}")',
        keep=_KEEP_ONNX,
        engine="OrtModel",
    ),
}


def flavour(name: str) -> Flavour:
    """The runtime of a name.

    Raises:
        InputError: There is none; the message names the known ones.
    """
    for known in NAMES:
        if known == name:
            return _FLAVOURS[known]
    raise InputError.unknown("runtime of an Android app", name, NAMES)
