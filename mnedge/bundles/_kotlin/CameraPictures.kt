package @PACKAGE@

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Matrix
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.core.Preview
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.view.PreviewView
import androidx.core.content.ContextCompat
import androidx.lifecycle.LifecycleOwner
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors

/**
 * Pictures of the back camera, turned upright, for `look` on one background thread; pictures that come while it is
 * busy are dropped. The owner's life ends the camera; `close` ends the thread.
 */
class CameraPictures(
    private val context: Context,
    private val owner: LifecycleOwner,
    private val look: (picture: Bitmap, timeMs: Long) -> Unit
) : AutoCloseable {
    private val executor: ExecutorService = Executors.newSingleThreadExecutor()

    /** Starts the camera; the app has android.permission.CAMERA. */
    fun start(view: PreviewView) {
        val waiting = ProcessCameraProvider.getInstance(context)
        waiting.addListener(
            Runnable {
                val preview = Preview.Builder().build().also { it.setSurfaceProvider(view.surfaceProvider) }
                val analysis = ImageAnalysis.Builder()
                    .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
                    .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
                    .build()
                analysis.setAnalyzer(executor, ImageAnalysis.Analyzer { see(it) })
                val provider = waiting.get()
                provider.unbindAll()
                provider.bindToLifecycle(owner, CameraSelector.DEFAULT_BACK_CAMERA, preview, analysis)
            },
            ContextCompat.getMainExecutor(context)
        )
    }

    /** Runs something on the background thread, such as the end of a model that `look` uses. */
    fun then(work: () -> Unit) = executor.execute { work() }

    private fun see(image: ImageProxy) = image.use {
        look(upright(it.toBitmap(), it.imageInfo.rotationDegrees), it.imageInfo.timestamp / 1_000_000)
    }

    private fun upright(picture: Bitmap, degrees: Int): Bitmap {
        if (degrees == 0) return picture
        val turn = Matrix().apply { postRotate(degrees.toFloat()) }
        return Bitmap.createBitmap(picture, 0, 0, picture.width, picture.height, turn, false)
    }

    override fun close() = executor.shutdown()
}
