"""The text files of an Android bundle, with @WORDS@ to fill in."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

# LiteRT 1.4 is the first whose native libraries are aligned to 16 KB pages, which Google Play asks for since
# November 2025; CompiledModel is of LiteRT 2. MediaPipe brings its own runtime.
LITERT = "2.1.0"
MEDIAPIPE = "0.10.29"

ANDROID_MANIFEST = """<?xml version="1.0" encoding="utf-8"?>
<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="@GROUP@.@IDENTIFIER@">
    <uses-sdk android:minSdkVersion="24" />
</manifest>
"""

POM = """<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
         xsi:schemaLocation="http://maven.apache.org/POM/4.0.0 https://maven.apache.org/xsd/maven-4.0.0.xsd">
  <modelVersion>4.0.0</modelVersion>
  <groupId>@GROUP@</groupId>
  <artifactId>@SLUG@</artifactId>
  <version>@VERSION@</version>
  <packaging>aar</packaging>
  <name>@SLUG@</name>
  <description>int8 MobileNet image @NOUN@: models as assets, no code</description>
  <licenses>
    <license>
      <name>@LICENSE_XML@</name>
    </license>
  </licenses>
</project>
"""

# Where there is Kotlin for LiteRT without MediaPipe: in the README, and in the Gradle file.
ON_LITERT_ALONE = """; `@LITERT_CLASS@.kt`
   needs LiteRT alone and takes a bitmap of @SHOWN_SIZE@"""
LITERT_DEPENDENCY = f"""    // Instead of MediaPipe, for @LITERT_CLASS@.kt.
    implementation("com.google.ai.edge.litert:litert:{LITERT}")
"""

# Of what has classes: in the README.
LABELS_INSIDE = ", labels inside"
LABELS_ROW = """| `assets/@SLUG@.labels.txt` | @CLASSES@ class names, one a score |
"""

# No lastUpdated: a time would change the bytes.
MAVEN_METADATA = """<?xml version="1.0" encoding="UTF-8"?>
<metadata>
  <groupId>@GROUP@</groupId>
  <artifactId>@SLUG@</artifactId>
  <versioning>
    <latest>@VERSION@</latest>
    <release>@VERSION@</release>
    <versions>
      <version>@VERSION@</version>
    </versions>
  </versioning>
</metadata>
"""

_README = """# @SLUG@ for Android

| file | what takes it |
|---|---|
| `assets/@SLUG@.uint8.tflite` | @TAKERS@, LiteRT's Interpreter; 8-bit RGB in@LABELS_INSIDE@ |
| `assets/@SLUG@.int8.tflite` | LiteRT's CompiledModel, which has no uint8 tensors: write pixel - 128 |
@LABELS_ROW@| `maven/` | the same as `@GROUP@:@SLUG@:@VERSION@`, an .aar without code, minSdk 24 |

1. Copy `maven/` into the project (or publish it), and take over what stands in `gradle/`. Without the library: copy
   `assets/*` to `app/src/main/assets/` and leave the dependency on the .aar out.
2. Copy from `kotlin/`: `@TASKS_CLASS@.kt` does all with MediaPipe Tasks@ON_LITERT_ALONE@.
3. A changed model is a new version: `mnedge bundle android … --version 1.0.1`. Gradle keeps what it has of the old.

@RANGE@The runtimes named here come with 16 KB pages. `mnedge verify` checks every file against `manifest.json`.
"""

_SETTINGS = """// settings.gradle.kts
dependencyResolutionManagement {
    repositories {
        google()
        mavenCentral()
        maven { url = uri("maven") } // this bundle's folder
    }
}
"""

_BUILD = f"""// app/build.gradle.kts
android {{
    defaultConfig {{ minSdk = 24 }}
    // The plugin stores .tflite as it is since 4.1; said here because a deflated model cannot be mapped into memory.
    androidResources {{ noCompress += "tflite" }}
}}

dependencies {{
    implementation("@GROUP@:@SLUG@:@VERSION@@aar")

    // All with 16 KB pages.
    implementation("com.google.mediapipe:tasks-vision:{MEDIAPIPE}") // @TASKS_CLASS@.kt
@LITERT_DEPENDENCY@}}
"""

# Of a network that was trained on another range than MobileNets are: in the README.
RANGE = """No app scales pixels: the steps of both models hold what the network was trained on, @FORMULA@.

"""

# What all Kotlin for LiteRT alone has in common: its fields, the steps from a bitmap to the outputs, and its end.
LITERT_MODEL = """    private val model =
        CompiledModel.create(context.assets, "@SLUG@.int8.tflite", CompiledModel.Options(Accelerator.CPU))
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()
    private val pixels = IntArray(@WIDE@ * @HIGH@)
    private val bytes = ByteArray(@WIDE@ * @HIGH@ * 3)"""
LITERT_RUN = """\
        require(picture.width == @WIDE@ && picture.height == @HIGH@) { "give a bitmap of $@WIDE@ x $@HIGH@" }
        picture.getPixels(pixels, 0, @WIDE@, 0, 0, @WIDE@, @HIGH@)
        pixels.forEachIndexed { at, argb ->
            // An int8 model takes pixel - 128.
            bytes[3 * at] = ((argb shr 16 and 0xFF) - 128).toByte()
            bytes[3 * at + 1] = ((argb shr 8 and 0xFF) - 128).toByte()
            bytes[3 * at + 2] = ((argb and 0xFF) - 128).toByte()
        }
        inputs[0].writeInt8(bytes)
        model.run(inputs, outputs)"""
LITERT_CLOSE = """    override fun close() {
        inputs.forEach { it.close() }
        outputs.forEach { it.close() }
        model.close()
    }

    private companion object {
@SIDES@
    }"""

SNIPPETS = {
    "README.md": _README,
    "gradle/settings.gradle.kts": _SETTINGS,
    "gradle/build.gradle.kts": _BUILD,
}


def fill(template: str, words: Mapping[str, str]) -> str:
    """Puts words in the place of their @NAMES@; @NAME_XML@ is the word with XML's characters escaped."""
    text = template
    for name, word in words.items():
        text = text.replace(f"@{name}_XML@", escape(word)).replace(f"@{name}@", word)
    return text
