package androidx.camera.core;

public interface ImageProxy extends AutoCloseable { void close(); ImageInfo getImageInfo(); default android.graphics.Bitmap toBitmap() { return null; } }
