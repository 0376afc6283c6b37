package @PACKAGE@

import android.Manifest
import android.graphics.Bitmap
import android.os.Bundle
import android.widget.FrameLayout
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.view.PreviewView

/** Shows what the camera sees, and what the model says of it. The app's manifest asks for CAMERA and names this. */
class CameraActivity : ComponentActivity() {
    private lateinit var preview: PreviewView
    private lateinit var answers: AnswerView

    // Opened, used and closed on the background thread alone.
    private val opened = lazy { @MODEL@(this) }
    private val model by opened
    private val pictures by lazy { CameraPictures(this, this) { picture, _ -> show(picture) } }
    private val permission = registerForActivityResult(ActivityResultContracts.RequestPermission()) { granted ->
        if (granted) pictures.start(preview)
    }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        preview = PreviewView(this)
        answers = AnswerView(this)
        setContentView(
            FrameLayout(this).apply {
                addView(preview)
                addView(answers)
            }
        )
        permission.launch(Manifest.permission.CAMERA)
    }

    override fun onDestroy() {
        pictures.then { if (opened.isInitialized()) model.close() }
        pictures.close()
        super.onDestroy()
    }

@SHOW@
}
