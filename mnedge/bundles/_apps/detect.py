"""App templates of a detector, with @WORDS@ to fill in."""

from __future__ import annotations

from mnedge.bundles._app import SHIPPED, AndroidApp, App
from mnedge.bundles._detector import with_detector_metadata

# What the camera's screen shows, in Kotlin.
_SHOW = """\
    private fun show(picture: Bitmap) {
        val found = model.detect(picture)
        answers.show(picture, boxes = found.map { "%s %.2f".format(it.label, it.score) to it.box })
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
@LEAST@    const float values[5] = {one->score, one->y1, one->x1, one->y2, one->x2};
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
        model="Detector",
        show=_SHOW,
        described=with_detector_metadata,
        finds_boxes=True,
    ),
    program=SHIPPED / "_detect.py",
    sketch=_SKETCH,
    web="detect",
    takes_threshold=True,
)
