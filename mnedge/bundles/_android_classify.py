"""The Kotlin of an Android bundle's classifier, with @WORDS@ to fill in."""

from __future__ import annotations

TASKS = """package @GROUP@.@IDENTIFIER@

import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier

/** Class names with probabilities, the most probable first. MediaPipe scales the picture and reads the labels. */
class TasksClassifier(context: Context, results: Int = 3) : AutoCloseable {
    private val classifier = ImageClassifier.createFromOptions(
        context,
        ImageClassifier.ImageClassifierOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath("@SLUG@.uint8.tflite").build())
            .setMaxResults(results)
            .build(),
    )

    fun classify(picture: Bitmap): List<Pair<String, Float>> =
        classifier.classify(BitmapImageBuilder(picture).build())
            .classificationResult().classifications().first().categories()
            .map { it.categoryName() to it.score() }

    override fun close() = classifier.close()
}
"""

LITERT = """package @GROUP@.@IDENTIFIER@

import android.content.Context
import android.graphics.Bitmap
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel

/** Class names with probabilities, the most probable first. */
class LiteRtClassifier(context: Context) : AutoCloseable {
    private val labels = context.assets.open("@SLUG@.labels.txt").bufferedReader().readLines()
@LITERT_MODEL@

    /** The picture is cropped to its centre square and scaled as it was for calibration by the caller. */
    fun classify(picture: Bitmap): List<Pair<String, Float>> {
@LITERT_RUN@
        // int8 scores of a softmax: probability = (score + 128) / 256.
        return outputs[0].readInt8()
            .mapIndexed { index, score -> labels[index] to (score + 128) / 256f }
            .sortedByDescending { it.second }
    }

@LITERT_CLOSE@
}
"""
