package @PACKAGE@

import android.content.Context
import android.graphics.RectF
import org.json.JSONArray
import org.json.JSONObject

/** What @SLUG@.model.json says of the model: how a picture is brought to its input, and what comes out. */
class ModelFile(context: Context) {
    private val json = JSONObject(context.assets.open("@SLUG@.model.json").bufferedReader().use { it.readText() })

    /** Size of the input in pixels. */
    val width = json.getInt("width")
    val height = json.getInt("height")

    /** Share of a picture's sides that the model sees. */
    val cropFraction = json.getDouble("crop_fraction")

    /** Whether the part gets the input's proportions by stretching; by cropping otherwise. */
    val isStretched = json.getString("fit") == "stretch"

    /** Filter of the resize: nearest, bilinear or bicubic. */
    val interpolation: String = json.getString("interpolation")

    /** Class names, by class index. */
    val labels: List<String> = json.getJSONArray("labels").let { array -> List(array.length()) { array.getString(it) } }

    /** Score from which an answer counts; null where nobody said one. */
    val threshold: Float? = if (json.has("threshold")) json.getDouble("threshold").toFloat() else null

    /** Whether the classes exclude each other. */
    val isExclusive = json.getString("head") in listOf("softmax", "logits")

    /**
     * Class names with probabilities, the most probable first; of two classes the second one comes first from the
     * threshold on.
     */
    fun ordered(found: List<Pair<String, Float>>): List<Pair<String, Float>> {
        val sorted = found.sortedByDescending { it.second }
        val least = threshold
        if (least == null || !isExclusive || labels.size != 2 || sorted.size != 2) return sorted
        val (second, first) = sorted.partition { it.first == labels[1] }
        if (second.size != 1) return sorted
        return if (second[0].second >= least) second + first else first + second
    }

    /** What the input's values are: real = scale * pixel + offset, a value a channel. */
    val pixelScale = floats(json.getJSONObject("pixels").getJSONArray("scale"))
    val pixelOffset = floats(json.getJSONObject("pixels").getJSONArray("offset"))

    /** Whether the input is channel by channel (NCHW) instead of pixel by pixel (NHWC). */
    val isPlanar = json.getString("layout") == "NCHW"

    /** What the steps of each int8 output are: real = scale * (step - zero point). */
    val outputScales = floats(json.getJSONArray("output_scales"))
    val outputZeroPoints = ints(json.getJSONArray("output_zero_points"))

    /** Places in a row of the first output, where it is a map. */
    val outputWidth = json.optInt("output_width", 1)

    /** Anchors and limits of a detector. */
    val detection: JSONObject? = json.optJSONObject("detection")

    /** The part of a picture that the model sees: left, top, right and bottom in pixels. */
    fun region(pictureWidth: Int, pictureHeight: Int): DoubleArray {
        val proportion = width.toDouble() / height
        var keptWidth = maxOf(1.0, pictureWidth * cropFraction)
        var keptHeight = maxOf(1.0, pictureHeight * cropFraction)
        if (!isStretched) {
            val whole = keptWidth
            keptWidth = minOf(keptWidth, keptHeight * proportion)
            keptHeight = minOf(keptHeight, whole / proportion)
        }
        val left = (pictureWidth - keptWidth) / 2
        val top = (pictureHeight - keptHeight) / 2
        return doubleArrayOf(left, top, left + keptWidth, top + keptHeight)
    }

    /** The same in shares of the picture's sides, as MediaPipe takes it. */
    fun seen(pictureWidth: Int, pictureHeight: Int): RectF {
        val part = region(pictureWidth, pictureHeight)
        return RectF(
            (part[0] / pictureWidth).toFloat(),
            (part[1] / pictureHeight).toFloat(),
            (part[2] / pictureWidth).toFloat(),
            (part[3] / pictureHeight).toFloat()
        )
    }

    private fun floats(array: JSONArray) = FloatArray(array.length()) { array.getDouble(it).toFloat() }

    private fun ints(array: JSONArray) = IntArray(array.length()) { array.getInt(it) }
}
