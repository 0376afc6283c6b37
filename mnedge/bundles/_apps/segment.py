"""App templates of a segmenter, with @WORDS@ to fill in."""

from __future__ import annotations

from mnedge.bundles._app import SHIPPED, AndroidApp, App
from mnedge.bundles._segmenter import with_segmenter_metadata

# Kotlin on MediaPipe Tasks, and on LiteRT alone.
_TASKS = """package @GROUP@.@IDENTIFIER@

import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.framework.image.ByteBufferExtractor
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.imagesegmenter.ImageSegmenter

/** The class of every pixel. MediaPipe scales the picture, and the mask to the picture's size, and reads the labels. */
class TasksSegmenter(context: Context) : AutoCloseable {
    private val segmenter = ImageSegmenter.createFromOptions(
        context,
        ImageSegmenter.ImageSegmenterOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath("@SLUG@.uint8.tflite").build())
            .setOutputCategoryMask(true)
            .setOutputConfidenceMasks(false)
            .build(),
    )

    /** Class names, by the numbers that masks are made of. */
    val labels: List<String> = segmenter.labels

    /** A class number a pixel, row by row, as wide and high as the picture. */
    fun segment(picture: Bitmap): ByteArray {
        val mask = segmenter.segment(BitmapImageBuilder(picture).build()).categoryMask().get()
        val bytes = ByteBufferExtractor.extract(mask)
        return ByteArray(bytes.remaining()).also { bytes.get(it) }
    }

    override fun close() = segmenter.close()
}
"""

_LITERT = """package @GROUP@.@IDENTIFIER@

import android.content.Context
import android.graphics.Bitmap
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel

/** The class of every pixel. */
class LiteRtSegmenter(context: Context) : AutoCloseable {
    /** Class names, by the numbers that masks are made of. */
    val labels = context.assets.open("@SLUG@.labels.txt").bufferedReader().readLines()
@LITERT_MODEL@

    /** The whole picture, stretched to @SQUARE@ by the caller; a class number a pixel of the mask, row by row. */
    fun segment(picture: Bitmap): IntArray {
@LITERT_RUN@
        val scores = outputs[0].readInt8()
        return IntArray(scores.size / labels.size) { pixel ->
            labels.indices.maxByOrNull { scores[pixel * labels.size + it] } ?: 0
        }
    }

@LITERT_CLOSE@
}
"""

_SKETCH = """// Says once a second which share of `picture` each class has; put your camera's pixels there.
#include <@NAME@.h>
#include <@NAME@_labels.h>

static uint64_t arena[(@UPPER@_ARENA_BYTES + 7) / 8];
static @IN@ picture[@UPPER@_INPUT_BYTES];  // @LAYOUT@
static @OUT@ output[@UPPER@_OUTPUT_BYTES / sizeof(@OUT@)];

// Of a pixel of the mask, row by row.
static int class_of(long pixel) {
@CLASS_OF@
}

void setup() {
  Serial.begin(115200);
}

void loop() {
  const unsigned long started = micros();
  const int status = @NAME@_run(picture, output, arena);
  const unsigned long spent_us = micros() - started;
  long counts[@CLASSES@] = {0};
  for (long pixel = 0; status == 0 && pixel < (long)@PIXELS@; pixel++) {
    counts[class_of(pixel)]++;
  }
  for (int index = 0; index < @CLASSES@; index++) {
    Serial.print(@NAME@_labels[index]);
    Serial.print(' ');
    Serial.print(100.0f * (float)counts[index] / (float)@PIXELS@, 1);
    Serial.println(" %");
  }
  Serial.print(status == 0 ? "segmented" : "arena is not aligned");
  Serial.print(' ');
  Serial.print(spent_us);
  Serial.println(" us");
  delay(1000);
}
"""

APP = App(
    network="segmenter",
    output="scores of each class at each pixel; or its class index",
    android=AndroidApp(
        noun="segmenter",
        takers="MediaPipe Tasks",
        kotlin={"TasksSegmenter": _TASKS, "LiteRtSegmenter": _LITERT},
        described=with_segmenter_metadata,
    ),
    program=SHIPPED / "_segment.py",
    sketch=_SKETCH,
)
