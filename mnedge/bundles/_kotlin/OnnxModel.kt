package @PACKAGE@

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import java.nio.FloatBuffer

/** @SLUG@ on ONNX Runtime, from the bytes of its .onnx or .ort: 8-bit @ORDER@ in, real values out. */
class OnnxModel(model: ByteArray) : AutoCloseable {
    // Since 1.29 ONNX Runtime reports models to its maker unless it is told not to, before the first session.
    private val environment = OrtEnvironment.getEnvironment().apply { setTelemetry(false) }
    private val session = environment.createSession(model)
    private val input = session.inputNames.first()
    private val scale = floatArrayOf(@SCALE_KOTLIN@)
    private val offset = floatArrayOf(@OFFSET_KOTLIN@)

    /** Takes a picture of @WIDTH@ x @HEIGHT@ pixels, row by row, and gives the values of each output. */
    fun run(picture: ByteArray): List<FloatArray> {
        require(picture.size == @WIDTH@ * @HEIGHT@ * @CHANNELS@) { "a picture has @WIDTH@ x @HEIGHT@ x @CHANNELS@ bytes" }
        val pixels = @WIDTH@ * @HEIGHT@
        val values = FloatArray(picture.size)
        for (at in picture.indices) {
            val channel = at % @CHANNELS@
            val place = if (@IS_PLANAR@) channel * pixels + at / @CHANNELS@ else at
            values[place] = scale[channel] * (picture[at].toInt() and 0xFF) + offset[channel]
        }
        return OnnxTensor.createTensor(environment, FloatBuffer.wrap(values), longArrayOf(@SHAPE@)).use { tensor ->
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
