"""The Kotlin of an Android bundle's segmenter, with @WORDS@ to fill in."""

from __future__ import annotations

TASKS = """package @GROUP@.@IDENTIFIER@

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

LITERT = """package @GROUP@.@IDENTIFIER@

import android.content.Context
import android.graphics.Bitmap
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel

/** The class of every pixel. */
class LiteRtSegmenter(context: Context) : AutoCloseable {
    /** Class names, by the numbers that masks are made of. */
    val labels = context.assets.open("@SLUG@.labels.txt").bufferedReader().readLines()
@LITERT_MODEL@

    /** The whole picture, stretched to a square by the caller; a class number a pixel of the mask, row by row. */
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
