"""App templates of a segmenter, with @WORDS@ to fill in."""

from __future__ import annotations

from mnedge.bundles._app import SHIPPED, AndroidApp, App
from mnedge.bundles._segmenter import with_segmenter_metadata

# What the camera's screen shows, in Kotlin.
_SHOW = """\
    // The first class is the background, which stays clear.
    private fun show(picture: Bitmap) {
        val found = model.segment(picture)
        val colours = IntArray(found.classes.size) {
            val index = found.classes[it].toInt() and 0xFF
            val hue = index * 137.5f % 360f
            if (index == 0) 0 else android.graphics.Color.HSVToColor(0x90, floatArrayOf(hue, 1f, 1f))
        }
        val mask = Bitmap.createBitmap(colours, found.width, found.height, Bitmap.Config.ARGB_8888)
        answers.show(picture, lines = found.classes.toSet().map { model.labels[it.toInt() and 0xFF] }, mask = mask)
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
        model="Segmenter",
        show=_SHOW,
        described=with_segmenter_metadata,
    ),
    program=SHIPPED / "_segment.py",
    sketch=_SKETCH,
    web="segment",
)
