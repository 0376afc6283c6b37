"""The text files of an Android bundle, with @WORDS@ to fill in."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

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
  <description>int8 MobileNet image @NOUN@: the model as an asset, no code</description>
  <licenses>
    <license>
      <name>@LICENSE_XML@</name>
    </license>
  </licenses>
</project>
"""

# Paragraph of the README for a model with classes.
LABELS_INSIDE = ", labels inside"
LABELS_ROW = """| `assets/@SLUG@.labels.txt` | @CLASS_NAMES@, one a score |
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

_README = """# @SLUG@ for Android, on @RUNTIME@

| file | what it is |
|---|---|
| `assets/@SLUG@.@MODEL_FILE@` | the model; @TAKES@ |
| `assets/@SLUG@.model.json` | size, crop, resize, pixels, class names and threshold, which the Kotlin reads |
@LABELS_ROW@| `maven/` | the same as `@GROUP@:@SLUG@:@VERSION@`, an .aar without code, minSdk 24, with R8's rules |
| `kotlin/` | what to copy: `@MODEL@.kt` asks the model, `CameraActivity.kt` shows its answers over the camera |

1. Copy `maven/` into the project (or publish it), and take over what stands in `gradle/`. Without the library: copy
   `assets/*` to `app/src/main/assets/`, `gradle/proguard-rules.pro` to `app/`, and leave the .aar out.
2. Copy `kotlin/*` to `app/src/main/java/@FOLDERS@/`. `@MODEL@(context)` takes any upright
   bitmap: it crops and scales pictures as they were for calibration. The camera needs `gradle/build.gradle.kts`'s
   androidx lines and, in the app's manifest, android.permission.CAMERA and the activity.
3. A changed model is a new version: `mnedge bundle android … --version 1.0.1`. Gradle keeps what it has of the old.

@RANGE@An app needs one runtime: `--runtime @OTHERS@` makes this bundle for another. The one named here comes
with 16 KB pages. `mnedge verify` checks every file against `manifest.json`.
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

_BUILD = """// app/build.gradle.kts
android {
    defaultConfig { minSdk = 24 }
    // The plugin stores .tflite as it is since 4.1; said here because a deflated model cannot be mapped into memory.
    androidResources { noCompress += "tflite" }
    // Release builds: the .aar brings these rules; without it they stand in proguard-rules.pro.
    buildTypes { release { proguardFiles("proguard-rules.pro") } }
}

dependencies {
    implementation("@GROUP@:@SLUG@:@VERSION@@aar")
    // With 16 KB pages.
    @DEPENDENCY@
    // For CameraActivity.kt alone.
    implementation("androidx.activity:activity:1.9.3")
    implementation("androidx.camera:camera-camera2:1.4.0")
    implementation("androidx.camera:camera-lifecycle:1.4.0")
    implementation("androidx.camera:camera-view:1.4.0")
}
"""

# Paragraph of the README for a network that was trained on another range than MobileNets are.
RANGE = """No app scales the values of pixels: the model's steps hold what the network was trained on, @FORMULA@.

"""

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
