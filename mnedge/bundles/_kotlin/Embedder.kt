package @PACKAGE@

import android.content.Context
import android.graphics.Bitmap
import kotlin.math.sqrt

/** Pictures as vectors: those of the same thing point the same way. */
class Embedder(context: Context) : AutoCloseable {
    private val file = ModelFile(context)
    private val pictures = PictureReader(file)
    private val model = @ENGINE@(context, file)

    /** Takes any upright picture; gives a vector of length 1. */
    fun embed(picture: Bitmap): FloatArray {
        val values = model.run(pictures.read(picture))[0]
        // 8 bits round the length that the model gave the vector.
        val length = maxOf(sqrt(values.map { it * it }.sum()), 1e-12f)
        return FloatArray(values.size) { values[it] / length }
    }

    /** The cosine of two embeddings, 1 for the same direction. */
    fun similarity(one: FloatArray, two: FloatArray): Float =
        one.indices.fold(0f) { sum, at -> sum + one[at] * two[at] }

    override fun close() = model.close()
}
