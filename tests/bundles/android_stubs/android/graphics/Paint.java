package android.graphics;

public class Paint { public enum Style { FILL, STROKE } public void setColor(int color) { } public int getColor() { return 0; } public void setTextSize(float size) { } public float getTextSize() { return 0; } public void setShadowLayer(float radius, float dx, float dy, int color) { } public void setStyle(Style style) { } public Style getStyle() { return null; } public void setStrokeWidth(float width) { } public float getStrokeWidth() { return 0; } }
