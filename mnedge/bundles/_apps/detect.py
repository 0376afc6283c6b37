"""App templates of a detector, with @WORDS@ to fill in."""

from __future__ import annotations

from mnedge.bundles._app import SHIPPED, AndroidApp, App
from mnedge.bundles._detector import with_detector_metadata

# Kotlin on MediaPipe Tasks.
_TASKS = """package @GROUP@.@IDENTIFIER@

import android.content.Context
import android.graphics.Bitmap
import android.graphics.RectF
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.objectdetector.ObjectDetector

/** What is in a picture and where. MediaPipe scales the picture, decodes the boxes and reads the labels. */
class TasksDetector(context: Context, results: Int = 20, score: Float = 0.3f) : AutoCloseable {
    /** An object: class name, probability, and the box in pixels of the picture. */
    data class Found(val label: String, val score: Float, val box: RectF)

    private val detector = ObjectDetector.createFromOptions(
        context,
        ObjectDetector.ObjectDetectorOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath("@SLUG@.uint8.tflite").build())
            .setMaxResults(results)
            .setScoreThreshold(score)
            .build(),
    )

    fun detect(picture: Bitmap): List<Found> =
        detector.detect(BitmapImageBuilder(picture).build()).detections().map {
            val category = it.categories().first()
            Found(category.categoryName(), category.score(), it.boundingBox())
        }

    override fun close() = detector.close()
}
"""

_SKETCH = """// Finds objects in `picture` once a second, and says where; put your camera's pixels there.
#include <@NAME@.h>
#include <@NAME@_labels.h>
#include <@NAME@_objects.h>

static uint64_t arena[(@UPPER@_ARENA_BYTES + 7) / 8];
static @IN@ picture[@UPPER@_INPUT_BYTES];  // @LAYOUT@
static @OUT@ output[@UPPER@_OUTPUT0_BYTES + @UPPER@_OUTPUT1_BYTES];
static @NAME@_object objects[@UPPER@_OBJECTS_MOST];

void setup() {
  Serial.begin(115200);
}

void loop() {
  const unsigned long started = micros();
  const int status = @NAME@_run(picture, output, arena);
  const int32_t found = status == 0 ? @NAME@_objects(output, objects) : 0;
  const unsigned long spent_us = micros() - started;
  for (int32_t index = 0; index < found; index++) {
    const @NAME@_object *one = &objects[index];
    const float values[5] = {one->score, one->y1, one->x1, one->y2, one->x2};
    Serial.print(@NAME@_labels[one->label]);
    for (int at = 0; at < 5; at++) {
      Serial.print(' ');
      Serial.print(values[at], 3);
    }
    Serial.println();
  }
  Serial.print(status == 0 ? "objects" : "arena is not aligned");
  Serial.print(' ');
  Serial.print(spent_us);
  Serial.println(" us");
  delay(1000);
}
"""

APP = App(
    network="detector",
    output="scores and codes of boxes, whose anchors the .onnx holds; or the objects themselves",
    android=AndroidApp(
        noun="detector",
        takers="MediaPipe Tasks",
        kotlin={"TasksDetector": _TASKS},
        described=with_detector_metadata,
    ),
    program=SHIPPED / "_detect.py",
    sketch=_SKETCH,
)
