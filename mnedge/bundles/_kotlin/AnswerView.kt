package @PACKAGE@

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.graphics.RectF
import android.view.View

/** Lines, boxes and a mask over the camera's preview, which fills the view and is cut where it sticks out. */
class AnswerView(context: Context) : View(context) {
    private val letters = Paint().apply {
        color = Color.WHITE
        textSize = 18 * resources.displayMetrics.density
        setShadowLayer(4f, 0f, 0f, Color.BLACK)
    }
    private val frame = Paint().apply {
        color = Color.YELLOW
        style = Paint.Style.STROKE
        strokeWidth = 3 * resources.displayMetrics.density
    }
    private var width0 = 1
    private var height0 = 1
    private var lines = emptyList<String>()
    private var boxes = emptyList<Pair<String, RectF>>()
    private var mask: Bitmap? = null

    /** Shows what was found in a picture; boxes are in its pixels, a mask is stretched over it. Any thread may call. */
    fun show(
        picture: Bitmap,
        lines: List<String> = emptyList(),
        boxes: List<Pair<String, RectF>> = emptyList(),
        mask: Bitmap? = null
    ) {
        val width = picture.width
        val height = picture.height
        post {
            width0 = width
            height0 = height
            this.lines = lines
            this.boxes = boxes
            this.mask = mask
            contentDescription = (lines + boxes.map { it.first }).joinToString()
            invalidate()
        }
    }

    override fun onDraw(canvas: Canvas) {
        super.onDraw(canvas)
        val scale = maxOf(width.toFloat() / width0, height.toFloat() / height0)
        val left = (width - width0 * scale) / 2
        val top = (height - height0 * scale) / 2
        mask?.let {
            canvas.drawBitmap(it, null, RectF(left, top, left + width0 * scale, top + height0 * scale), null)
        }
        for ((label, box) in boxes) {
            val place = RectF(
                left + box.left * scale,
                top + box.top * scale,
                left + box.right * scale,
                top + box.bottom * scale
            )
            canvas.drawRect(place, frame)
            canvas.drawText(label, place.left, maxOf(place.top, letters.textSize), letters)
        }
        lines.forEachIndexed { at, line ->
            canvas.drawText(line, letters.textSize, letters.textSize * (2 + 1.3f * at), letters)
        }
    }
}
