"""The Kotlin of an Android bundle's embedding, with @WORDS@ to fill in."""

from __future__ import annotations

TASKS = """package @GROUP@.@IDENTIFIER@

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

LITERT = """package @GROUP@.@IDENTIFIER@

import android.content.Context
import android.graphics.Bitmap
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import kotlin.math.sqrt

/** Pictures as vectors: those of the same thing point the same way. */
class LiteRtEmbedder(context: Context) : AutoCloseable {
@LITERT_MODEL@

    /** The picture is cropped to its centre square and scaled as it was for calibration by the caller. */
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
