package @PACKAGE@

import android.content.Context
import android.graphics.Bitmap
import android.graphics.RectF
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.core.RunningMode
import com.google.mediapipe.tasks.vision.objectdetector.ObjectDetector
import com.google.mediapipe.tasks.vision.objectdetector.ObjectDetectorResult

/**
 * What is in a picture and where. MediaPipe scales the picture, decodes the boxes and reads the labels.
 *
 * With a listener the detector runs in live-stream mode: give pictures to `look`, and take the answers there.
 */
class TasksDetector(
    context: Context,
    results: Int = 20,
    score: Float = ModelFile(context).threshold ?: 0.3f,
    listener: ((List<Found>) -> Unit)? = null
) : AutoCloseable {
    /** An object: class name, score, and the box in pixels of the picture. */
    data class Found(val label: String, val score: Float, val box: RectF)

    private val detector = ObjectDetector.createFromOptions(
        context,
        ObjectDetector.ObjectDetectorOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath("@SLUG@.uint8.tflite").build())
            .setMaxResults(results)
            .setScoreThreshold(score)
            .setRunningMode(if (listener == null) RunningMode.IMAGE else RunningMode.LIVE_STREAM)
            .apply { if (listener != null) setResultListener { result, _ -> listener(objects(result)) } }
            .build()
    )

    /** Takes any upright picture. */
    fun detect(picture: Bitmap): List<Found> = objects(detector.detect(BitmapImageBuilder(picture).build()))

    /** Takes an upright picture of a stream; its time is in milliseconds and later than the one before. */
    fun look(picture: Bitmap, timeMs: Long) = detector.detectAsync(BitmapImageBuilder(picture).build(), timeMs)

    private fun objects(result: ObjectDetectorResult): List<Found> = result.detections().map {
        val category = it.categories().first()
        Found(category.categoryName(), category.score(), it.boundingBox())
    }

    override fun close() = detector.close()
}
