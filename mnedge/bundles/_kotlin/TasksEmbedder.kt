package @PACKAGE@

import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.core.ImageProcessingOptions
import com.google.mediapipe.tasks.vision.imageembedder.ImageEmbedder

/** Pictures as vectors: those of the same thing point the same way. MediaPipe scales the part that the model sees. */
class TasksEmbedder(context: Context) : AutoCloseable {
    private val file = ModelFile(context)
    private val embedder = ImageEmbedder.createFromOptions(
        context,
        ImageEmbedder.ImageEmbedderOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath("@SLUG@.uint8.tflite").build())
            // The model ends in a norm of its own, which 8 bits round: this makes the length 1 again.
            .setL2Normalize(true)
            .build()
    )

    /** Takes any upright picture; gives a vector of length 1. */
    fun embed(picture: Bitmap): FloatArray {
        val seen = ImageProcessingOptions.builder().setRegionOfInterest(file.seen(picture.width, picture.height)).build()
        return embedder.embed(BitmapImageBuilder(picture).build(), seen)
            .embeddingResult().embeddings().first().floatEmbedding()
    }

    /** The cosine of two embeddings, 1 for the same direction. */
    fun similarity(one: FloatArray, two: FloatArray): Float =
        one.indices.fold(0f) { sum, at -> sum + one[at] * two[at] }

    override fun close() = embedder.close()
}
