package @PACKAGE@

import android.content.Context
import android.graphics.Bitmap

/** The class of every pixel. */
class Segmenter(context: Context) : AutoCloseable {
    /** A class number a pixel, row by row. */
    class Mask(val width: Int, val height: Int, val classes: ByteArray)

    private val file = ModelFile(context)
    private val pictures = PictureReader(file)
    private val model = @ENGINE@(context, file)

    /** Class names, by the numbers that masks are made of. */
    val labels = file.labels

    /** Takes any upright picture, which is stretched to the model's size; so is the mask. */
    fun segment(picture: Bitmap): Mask {
        val scores = model.run(pictures.read(picture))[0]
        val classes = ByteArray(scores.size / labels.size) { pixel ->
            var best = 0
            for (index in labels.indices) {
                if (scores[pixel * labels.size + index] > scores[pixel * labels.size + best]) best = index
            }
            best.toByte()
        }
        return Mask(file.outputWidth, classes.size / file.outputWidth, classes)
    }

    override fun close() = model.close()
}
