package @PACKAGE@

import android.content.Context
import android.graphics.Bitmap
import android.graphics.RectF
import kotlin.math.exp

/** What is in a picture and where. */
class Detector(context: Context) : AutoCloseable {
    /** An object: class name, score, and the box in pixels of the picture. */
    data class Found(val label: String, val score: Float, val box: RectF)

    private class Box(
        val index: Int,
        val score: Float,
        val top: Float,
        val left: Float,
        val bottom: Float,
        val right: Float
    )

    private val file = ModelFile(context)
    private val pictures = PictureReader(file)
    private val model = @ENGINE@(context, file)
    private val told = checkNotNull(file.detection)
    private val overlap = told.getDouble("overlap").toFloat()
    private val most = told.getInt("most")

    // Centre y, centre x, height and width of each anchor in fractions of the picture: map by map, row by row.
    private val anchors: List<FloatArray> = ArrayList<FloatArray>().apply {
        val sides = told.getJSONArray("sides")
        for (map in 0 until sides.length()) {
            val rows = sides.getJSONArray(map).getInt(0)
            val columns = sides.getJSONArray(map).getInt(1)
            val shapes = told.getJSONArray("shapes").getJSONArray(map)
            for (y in 0 until rows) for (x in 0 until columns) for (own in 0 until shapes.length()) {
                val shape = shapes.getJSONArray(own)
                val height = shape.getDouble(0).toFloat()
                val width = shape.getDouble(1).toFloat()
                add(floatArrayOf((y + 0.5f) / rows, (x + 0.5f) / columns, height, width))
            }
        }
    }

    /** Takes any upright picture, which is stretched to the model's size; the surest object comes first. */
    fun detect(picture: Bitmap, least: Float = file.threshold ?: 0.3f): List<Found> {
        val (scores, codes) = model.run(pictures.read(picture))
        val wide = picture.width.toFloat()
        val high = picture.height.toFloat()
        return find(scores, codes, least).map { box ->
            val place = RectF(box.left * wide, box.top * high, box.right * wide, box.bottom * high)
            Found(file.labels[box.index], box.score, place)
        }
    }

    // The boxes of each class that do not overlap a surer one (greedy non-maximum suppression).
    private fun find(scores: FloatArray, codes: FloatArray, least: Float): List<Box> {
        val classes = file.labels.size
        val found = ArrayList<Box>()
        for (index in 0 until classes) {
            val kept = ArrayList<Box>()
            anchors.indices.filter { scores[it * classes + index] >= least }
                .sortedByDescending { scores[it * classes + index] }
                .forEach { row ->
                    val box = decoded(row, codes, index, scores[row * classes + index])
                    if (kept.size < most && kept.all { share(it, box) <= overlap }) kept.add(box)
                }
            found.addAll(kept)
        }
        return found.sortedByDescending { it.score }.take(most).map {
            Box(it.index, it.score, cut(it.top), cut(it.left), cut(it.bottom), cut(it.right))
        }
    }

    // Codes are 10 and 5 times what they say (Liu et al. 2016, SSD, eq. 2).
    private fun decoded(row: Int, codes: FloatArray, index: Int, score: Float): Box {
        val anchor = anchors[row]
        val y = codes[4 * row] / 10f * anchor[2] + anchor[0]
        val x = codes[4 * row + 1] / 10f * anchor[3] + anchor[1]
        val halfHeight = exp(codes[4 * row + 2] / 5f) * anchor[2] / 2
        val halfWidth = exp(codes[4 * row + 3] / 5f) * anchor[3] / 2
        return Box(index, score, y - halfHeight, x - halfWidth, y + halfHeight, x + halfWidth)
    }

    private fun share(one: Box, two: Box): Float {
        val high = minOf(one.bottom, two.bottom) - maxOf(one.top, two.top)
        val wide = minOf(one.right, two.right) - maxOf(one.left, two.left)
        val shared = maxOf(high, 0f) * maxOf(wide, 0f)
        val sum = (one.bottom - one.top) * (one.right - one.left) + (two.bottom - two.top) * (two.right - two.left)
        return shared / maxOf(sum - shared, 1e-12f)
    }

    private fun cut(value: Float) = value.coerceIn(0f, 1f)

    override fun close() = model.close()
}
