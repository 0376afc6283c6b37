"""The Kotlin of an Android bundle's detector, with @WORDS@ to fill in."""

from __future__ import annotations

TASKS = """package @GROUP@.@IDENTIFIER@

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
