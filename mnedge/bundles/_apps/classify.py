"""App templates of a classifier, with @WORDS@ to fill in."""

from __future__ import annotations

from mnedge.bundles._app import SHIPPED, AndroidApp, App
from mnedge.bundles._metadata import with_metadata

# Kotlin on MediaPipe Tasks, and on LiteRT alone.
_TASKS = """package @GROUP@.@IDENTIFIER@

import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier

/** Class names with probabilities, the most probable first. MediaPipe scales the picture and reads the labels. */
class TasksClassifier(context: Context, results: Int = 3) : AutoCloseable {
    private val classifier = ImageClassifier.createFromOptions(
        context,
        ImageClassifier.ImageClassifierOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath("@SLUG@.uint8.tflite").build())
            .setMaxResults(results)
            .build(),
    )

    fun classify(picture: Bitmap): List<Pair<String, Float>> =
        classifier.classify(BitmapImageBuilder(picture).build())
            .classificationResult().classifications().first().categories()
            .map { it.categoryName() to it.score() }

    override fun close() = classifier.close()
}
"""

_LITERT = """package @GROUP@.@IDENTIFIER@

import android.content.Context
import android.graphics.Bitmap
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel

/** Class names with probabilities, the most probable first. */
class LiteRtClassifier(context: Context) : AutoCloseable {
    private val labels = context.assets.open("@SLUG@.labels.txt").bufferedReader().readLines()
@LITERT_MODEL@

    /** The picture is @CUT@ and scaled as it was for calibration by the caller. */
    fun classify(picture: Bitmap): List<Pair<String, Float>> {
@LITERT_RUN@
        // @SCORES@: probability = (score + 128) / 256.
        return outputs[0].readInt8()
            .mapIndexed { index, score -> labels[index] to (score + 128) / 256f }
            .sortedByDescending { it.second }
    }

@LITERT_CLOSE@
}
"""

_SKETCH = """// Classifies `picture` once a second, and says how long it took; put your camera's pixels there.
#include <@NAME@.h>
#include <@NAME@_labels.h>

static uint64_t arena[(@UPPER@_ARENA_BYTES + 7) / 8];
static @IN@ picture[@UPPER@_INPUT_BYTES];  // @LAYOUT@
static @OUT@ scores[@UPPER@_OUTPUT_BYTES];

void setup() {
  Serial.begin(115200);
}

void loop() {
  const unsigned long started = micros();
  const int status = @NAME@_run(picture, scores, arena);
  const unsigned long spent_us = micros() - started;
@ANSWER@  Serial.print(spent_us);
  Serial.println(" us");
  delay(1000);
}
"""

APP = App(
    network="classifier",
    output="probabilities",
    android=AndroidApp(
        noun="classifier",
        takers="MediaPipe Tasks, ML Kit",
        kotlin={"TasksClassifier": _TASKS, "LiteRtClassifier": _LITERT},
        described=with_metadata,
    ),
    program=SHIPPED / "_classify.py",
    sketch=_SKETCH,
)
