"""App templates of a classifier, with @WORDS@ to fill in."""

from __future__ import annotations

from mnedge.bundles._app import SHIPPED, AndroidApp, App
from mnedge.bundles._metadata import with_metadata

# What the camera's screen shows, in Kotlin.
_SHOW = """\
    private fun show(picture: Bitmap) {
        val found = model.classify(picture)
        answers.show(picture, lines = found.take(3).map { "%s %.2f".format(it.first, it.second) })
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
        model="Classifier",
        show=_SHOW,
        described=with_metadata,
    ),
    program=SHIPPED / "_classify.py",
    sketch=_SKETCH,
    web="classify",
    names_classes=True,
    takes_threshold=True,
)
