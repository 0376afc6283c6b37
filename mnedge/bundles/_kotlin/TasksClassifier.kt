package @PACKAGE@

import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.core.ImageProcessingOptions
import com.google.mediapipe.tasks.vision.core.RunningMode
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifierResult

/**
 * Class names with probabilities, the most probable first. MediaPipe scales the part of the picture that the model was
 * measured with, and reads the labels.
 *
 * With a listener the classifier runs in live-stream mode: give pictures to `look`, and take the answers there.
 */
class TasksClassifier(
    context: Context,
    results: Int = 3,
    listener: ((List<Pair<String, Float>>) -> Unit)? = null
) : AutoCloseable {
    private val file = ModelFile(context)

    /** Probability from which a label by itself is a yes. */
    val threshold = file.threshold ?: 0.5f
    private val classifier = ImageClassifier.createFromOptions(
        context,
        ImageClassifier.ImageClassifierOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath("@SLUG@.uint8.tflite").build())
            .setMaxResults(results)
            .setRunningMode(if (listener == null) RunningMode.IMAGE else RunningMode.LIVE_STREAM)
            .apply { if (listener != null) setResultListener { result, _ -> listener(answers(result)) } }
            .build()
    )

    /** Takes any upright picture. */
    fun classify(picture: Bitmap): List<Pair<String, Float>> =
        answers(classifier.classify(BitmapImageBuilder(picture).build(), seen(picture)))

    /** Takes an upright picture of a stream; its time is in milliseconds and later than the one before. */
    fun look(picture: Bitmap, timeMs: Long) =
        classifier.classifyAsync(BitmapImageBuilder(picture).build(), seen(picture), timeMs)

    private fun seen(picture: Bitmap): ImageProcessingOptions =
        ImageProcessingOptions.builder().setRegionOfInterest(file.seen(picture.width, picture.height)).build()

    private fun answers(result: ImageClassifierResult): List<Pair<String, Float>> =
        file.ordered(
            result.classificationResult().classifications().first().categories()
                .map { it.categoryName() to it.score() }
        )

    override fun close() = classifier.close()
}
