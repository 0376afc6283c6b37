package @PACKAGE@

import android.content.Context
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel

/** The model on LiteRT's CompiledModel: pixels in, real values out. */
class LiteRtModel(context: Context, private val file: ModelFile) : AutoCloseable {
    private val model =
        CompiledModel.create(context.assets, "@SLUG@.int8.tflite", CompiledModel.Options(Accelerator.CPU))
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    /** Takes RGB bytes of the model's size, and gives the values of each output. */
    fun run(rgb: ByteArray): List<FloatArray> {
        // An int8 model takes pixel - 128; what the network was trained on is folded into its first layer.
        inputs[0].writeInt8(ByteArray(rgb.size) { (rgb[it].toInt() xor 0x80).toByte() })
        model.run(inputs, outputs)
        return outputs.mapIndexed { at, output ->
            val steps = output.readInt8()
            FloatArray(steps.size) { (steps[it] - file.outputZeroPoints[at]) * file.outputScales[at] }
        }
    }

    override fun close() {
        inputs.forEach { it.close() }
        outputs.forEach { it.close() }
        model.close()
    }
}
