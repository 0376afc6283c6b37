package @PACKAGE@

import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.framework.image.ByteBufferExtractor
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.core.RunningMode
import com.google.mediapipe.tasks.vision.imagesegmenter.ImageSegmenter
import com.google.mediapipe.tasks.vision.imagesegmenter.ImageSegmenterResult

/**
 * The class of every pixel. MediaPipe scales the picture, and the mask to the picture's size, and reads the labels.
 *
 * With a listener the segmenter runs in live-stream mode: give pictures to `look`, and take the masks there.
 */
class TasksSegmenter(context: Context, listener: ((Mask) -> Unit)? = null) : AutoCloseable {
    /** A class number a pixel, row by row. */
    class Mask(val width: Int, val height: Int, val classes: ByteArray)

    private val segmenter = ImageSegmenter.createFromOptions(
        context,
        ImageSegmenter.ImageSegmenterOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath("@SLUG@.uint8.tflite").build())
            .setOutputCategoryMask(true)
            .setOutputConfidenceMasks(false)
            .setRunningMode(if (listener == null) RunningMode.IMAGE else RunningMode.LIVE_STREAM)
            .apply { if (listener != null) setResultListener { result, _ -> listener(mask(result)) } }
            .build()
    )

    /** Class names, by the numbers that masks are made of. */
    val labels: List<String> = segmenter.labels

    /** Takes any upright picture; gives a mask as wide and high as the picture. */
    fun segment(picture: Bitmap): Mask = mask(segmenter.segment(BitmapImageBuilder(picture).build()))

    /** Takes an upright picture of a stream; its time is in milliseconds and later than the one before. */
    fun look(picture: Bitmap, timeMs: Long) = segmenter.segmentAsync(BitmapImageBuilder(picture).build(), timeMs)

    private fun mask(result: ImageSegmenterResult): Mask {
        val image = result.categoryMask().get()
        val bytes = ByteBufferExtractor.extract(image)
        return Mask(image.width, image.height, ByteArray(bytes.remaining()).also { bytes.get(it) })
    }

    override fun close() = segmenter.close()
}
