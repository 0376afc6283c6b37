package @PACKAGE@

import android.content.Context
import android.graphics.Bitmap

/** Class names with probabilities, the most probable first. */
class Classifier(context: Context) : AutoCloseable {
    private val file = ModelFile(context)
    private val pictures = PictureReader(file)
    private val model = @ENGINE@(context, file)

    /** Probability from which a label by itself is a yes. */
    val threshold = file.threshold ?: 0.5f

    /** Takes any upright picture. */
    fun classify(picture: Bitmap): List<Pair<String, Float>> =
        file.ordered(model.run(pictures.read(picture))[0].mapIndexed { index, score -> file.labels[index] to score })

    override fun close() = model.close()
}
