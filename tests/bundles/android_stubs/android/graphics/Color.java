package android.graphics;

public class Color { public static final int WHITE = -1; public static final int YELLOW = -256; public static final int BLACK = -16777216; public static int HSVToColor(int alpha, float[] hsv) { return 0; } }
