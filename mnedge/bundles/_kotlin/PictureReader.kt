package @PACKAGE@

import android.graphics.Bitmap
import kotlin.math.abs

/**
 * Brings upright pictures to the model's input as they were for calibration and measuring: transparency on white, the
 * part that the model sees, and a resize whose filter widens where it shrinks (antialiasing).
 */
class PictureReader(private val file: ModelFile) {
    /** RGB, 8 bits a value, row by row. */
    fun read(picture: Bitmap): ByteArray {
        val argb = IntArray(picture.width * picture.height)
        picture.getPixels(argb, 0, picture.width, 0, 0, picture.width, picture.height)
        return resize(argb, picture.width, picture.height)
    }

    private fun resize(argb: IntArray, width: Int, height: Int): ByteArray {
        val rgb = opaque(argb)
        val part = FloatArray(4) { file.region(width, height)[it].toFloat() }
        if (file.interpolation == "nearest") return nearest(rgb, width, height, part)
        val across = Taps(width, part[0], part[2], file.width, file.interpolation)
        val down = Taps(height, part[1], part[3], file.height, file.interpolation)
        val narrow = ByteArray(3 * file.width * height)
        for (y in 0 until height) {
            for (x in 0 until file.width) {
                for (channel in 0..2) {
                    narrow[3 * (y * file.width + x) + channel] = across.at(x, rgb, 3 * y * width + channel, 3)
                }
            }
        }
        val made = ByteArray(3 * file.width * file.height)
        for (y in 0 until file.height) {
            for (at in 0 until 3 * file.width) made[3 * y * file.width + at] = down.at(y, narrow, at, 3 * file.width)
        }
        return made
    }

    private fun nearest(rgb: ByteArray, width: Int, height: Int, part: FloatArray): ByteArray {
        val columns = places(file.width, part[0], part[2], width)
        val rows = places(file.height, part[1], part[3], height)
        val made = ByteArray(3 * file.width * file.height)
        for (y in 0 until file.height) {
            for (x in 0 until file.width) {
                val from = 3 * (rows[y] * width + columns[x])
                rgb.copyInto(made, 3 * (y * file.width + x), from, from + 3)
            }
        }
        return made
    }

    private fun places(count: Int, from: Float, to: Float, size: Int): IntArray {
        val step = (to - from).toDouble() / count
        var at = from + step * 0.5
        return IntArray(count) { at.toInt().coerceIn(0, size - 1).also { at += step } }
    }

    private fun opaque(argb: IntArray): ByteArray {
        val rgb = ByteArray(3 * argb.size)
        argb.forEachIndexed { at, pixel ->
            val alpha = pixel ushr 24
            for (channel in 0..2) {
                val value = pixel shr (16 - 8 * channel) and 0xFF
                rgb[3 * at + channel] = (if (alpha == 255) value else onWhite(value, alpha)).toByte()
            }
        }
        return rgb
    }

    // 7 more bits than a byte, and a division by 255 in shifts, rounded to nearest.
    private fun onWhite(value: Int, alpha: Int): Int {
        val sum = (value * (alpha shl 7) + 255 * ((255 - alpha) shl 7)) + (0x80 shl 7)
        return ((sum shr 8) + sum shr 8) shr 7
    }

    /** Where each place of a resized line comes from, with weights in 1 / 2^22. */
    private class Taps(size: Int, from: Float, to: Float, count: Int, interpolation: String) {
        private val starts = IntArray(count)
        private val weights: Array<IntArray>

        init {
            val step = (to - from).toDouble() / count
            val wide = maxOf(step, 1.0)
            val support = (if (interpolation == "bicubic") 2.0 else 1.0) * wide
            weights = Array(count) { place ->
                val centre = from + (place + 0.5) * step
                val first = maxOf(0, (centre - support + 0.5).toInt())
                val last = minOf(size, (centre + support + 0.5).toInt())
                starts[place] = first
                val shares = DoubleArray(last - first) {
                    val distance = (it + first - centre + 0.5) * (1.0 / wide)
                    if (interpolation == "bicubic") cubic(distance) else maxOf(0.0, 1.0 - abs(distance))
                }
                val sum = shares.sum()
                IntArray(shares.size) { fixed(if (sum == 0.0) shares[it] else shares[it] / sum) }
            }
        }

        fun at(place: Int, bytes: ByteArray, base: Int, stride: Int): Byte {
            var sum = 1 shl BITS - 1
            var from = base + starts[place] * stride
            for (weight in weights[place]) {
                sum += (bytes[from].toInt() and 0xFF) * weight
                from += stride
            }
            return (sum shr BITS).coerceIn(0, 255).toByte()
        }

        private fun fixed(share: Double) = (share * (1 shl BITS) + if (share < 0) -0.5 else 0.5).toInt()

        // Keys 1981, a = -0.5.
        private fun cubic(distance: Double): Double {
            val x = abs(distance)
            return when {
                x < 1.0 -> (1.5 * x - 2.5) * x * x + 1
                x < 2.0 -> (((x - 5) * x + 8) * x - 4) * -0.5
                else -> 0.0
            }
        }
    }

    private companion object {
        const val BITS = 22
    }
}
