package android.graphics;

public class Bitmap {
    public enum Config { ARGB_8888 }
    private final int[] pixels; private final int width; private final int height;
    private Bitmap(int[] pixels, int width, int height) { this.pixels = pixels; this.width = width; this.height = height; }
    public int getWidth() { return width; }
    public int getHeight() { return height; }
    public void getPixels(int[] into, int offset, int stride, int x, int y, int width, int height) { System.arraycopy(pixels, 0, into, 0, pixels.length); }
    public static Bitmap createBitmap(int[] colors, int width, int height, Config config) { return new Bitmap(colors, width, height); }
    public static Bitmap createBitmap(Bitmap source, int x, int y, int width, int height, Matrix m, boolean filter) { return source; }
}
