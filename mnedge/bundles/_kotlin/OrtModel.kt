package @PACKAGE@

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import android.content.Context
import java.nio.FloatBuffer

/** The model on ONNX Runtime: pixels in, real values out. */
class OrtModel(context: Context, private val file: ModelFile) : AutoCloseable {
    // ONNX Runtime reports models to its maker unless it is told not to.
    private val environment = OrtEnvironment.getEnvironment().apply { setTelemetry(false) }
    private val session =
        environment.createSession(context.assets.open("@SLUG@.int8.onnx").use { it.readBytes() })
    private val input = session.inputNames.first()
    private val shape = if (file.isPlanar) {
        longArrayOf(1, 3, file.height.toLong(), file.width.toLong())
    } else {
        longArrayOf(1, file.height.toLong(), file.width.toLong(), 3)
    }

    /** Takes RGB bytes of the model's size, and gives the values of each output. */
    fun run(rgb: ByteArray): List<FloatArray> {
        val pixels = rgb.size / 3
        val values = FloatArray(rgb.size)
        for (at in rgb.indices) {
            val channel = at % 3
            val real = file.pixelScale[channel] * (rgb[at].toInt() and 0xFF) + file.pixelOffset[channel]
            values[if (file.isPlanar) channel * pixels + at / 3 else at] = real
        }
        return OnnxTensor.createTensor(environment, FloatBuffer.wrap(values), shape).use { tensor ->
            session.run(mapOf(input to tensor)).use { result ->
                result.map { entry ->
                    val buffer = (entry.value as OnnxTensor).floatBuffer
                    FloatArray(buffer.remaining()).also { buffer.get(it) }
                }
            }
        }
    }

    override fun close() = session.close()
}
