"""App templates of an embedding, with @WORDS@ to fill in."""

from __future__ import annotations

from mnedge.bundles._app import SHIPPED, AndroidApp, App
from mnedge.bundles._embedder import with_embedder_metadata

# What the camera's screen shows, in Kotlin.
_SHOW = """\
    private fun show(picture: Bitmap) {
        val vector = model.embed(picture)
        val start = first ?: vector.also { first = it }
        answers.show(picture, lines = listOf("%.3f like the first picture".format(model.similarity(start, vector))))
    }

    private var first: FloatArray? = null
"""

_SKETCH = """// Says once a second how alike `picture` is to the first one, at most 1; put your camera's pixels there.
#include <@NAME@.h>
#include <math.h>

static uint64_t arena[(@UPPER@_ARENA_BYTES + 7) / 8];
static @IN@ picture[@UPPER@_INPUT_BYTES];  // @LAYOUT@
static @OUT@ first[@UPPER@_OUTPUT_BYTES], vector[@UPPER@_OUTPUT_BYTES];
static bool has_first = false;

// The cosine of two embeddings.
static float alike(const @OUT@ *one, const @OUT@ *two) {
  int32_t dot = 0, length_1 = 0, length_2 = 0;
  for (int at = 0; at < @UPPER@_OUTPUT_BYTES; at++) {
    const int32_t a = one[at] - @UPPER@_OUTPUT_ZERO_POINT, b = two[at] - @UPPER@_OUTPUT_ZERO_POINT;
    dot += a * b;
    length_1 += a * a;
    length_2 += b * b;
  }
  return length_1 > 0 && length_2 > 0 ? (float)dot / sqrtf((float)length_1 * (float)length_2) : 0.0f;
}

void setup() {
  Serial.begin(115200);
}

void loop() {
  const unsigned long started = micros();
  const int status = @NAME@_run(picture, has_first ? vector : first, arena);
  const unsigned long spent_us = micros() - started;
  Serial.print(status == 0 ? "alike" : "arena is not aligned");
  Serial.print(' ');
  Serial.print(status == 0 ? alike(first, has_first ? vector : first) : 0.0f, 3);
  Serial.print(' ');
  Serial.print(spent_us);
  Serial.println(" us");
  has_first = has_first || status == 0;
  delay(1000);
}
"""

APP = App(
    network="embedding",
    output="a vector of length 1",
    android=AndroidApp(
        noun="embedder",
        takers="MediaPipe Tasks",
        model="Embedder",
        show=_SHOW,
        described=with_embedder_metadata,
    ),
    program=SHIPPED / "_embed.py",
    sketch=_SKETCH,
    web="embed",
    has_labels=False,
)
