"""App templates of an embedding, with @WORDS@ to fill in."""

from __future__ import annotations

from mnedge.bundles._app import SHIPPED, AndroidApp, App
from mnedge.bundles._embedder import with_embedder_metadata

# Kotlin on MediaPipe Tasks, and on LiteRT alone.
_TASKS = """package @GROUP@.@IDENTIFIER@

import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.components.containers.Embedding
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.imageembedder.ImageEmbedder

/** Pictures as vectors: those of the same thing point the same way. MediaPipe scales the picture. */
class TasksEmbedder(context: Context) : AutoCloseable {
    private val embedder = ImageEmbedder.createFromOptions(
        context,
        ImageEmbedder.ImageEmbedderOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath("@SLUG@.uint8.tflite").build())
            // The model ends in a norm of its own, which 8 bits round: this makes the length 1 again.
            .setL2Normalize(true)
            .build(),
    )

    fun embed(picture: Bitmap): Embedding =
        embedder.embed(BitmapImageBuilder(picture).build()).embeddingResult().embeddings().first()

    /** The cosine of two embeddings, 1 for the same direction. */
    fun similarity(one: Embedding, two: Embedding): Double = ImageEmbedder.cosineSimilarity(one, two)

    override fun close() = embedder.close()
}
"""

_LITERT = """package @GROUP@.@IDENTIFIER@

import android.content.Context
import android.graphics.Bitmap
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import kotlin.math.sqrt

/** Pictures as vectors: those of the same thing point the same way. */
class LiteRtEmbedder(context: Context) : AutoCloseable {
@LITERT_MODEL@

    /** The picture is @CUT@ and scaled as it was for calibration by the caller. */
    fun embed(picture: Bitmap): FloatArray {
@LITERT_RUN@
        val steps = outputs[0].readInt8()
        // The zero point is 0, so that the direction is in the steps themselves; 8 bits round the length.
        val length = sqrt(steps.sumOf { it * it }.toFloat()).coerceAtLeast(1f)
        return FloatArray(steps.size) { steps[it] / length }
    }

    /** The cosine of two embeddings, 1 for the same direction. */
    fun similarity(one: FloatArray, two: FloatArray): Float =
        one.indices.fold(0f) { sum, at -> sum + one[at] * two[at] }

@LITERT_CLOSE@
}
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
        kotlin={"TasksEmbedder": _TASKS, "LiteRtEmbedder": _LITERT},
        described=with_embedder_metadata,
    ),
    program=SHIPPED / "_embed.py",
    sketch=_SKETCH,
)
