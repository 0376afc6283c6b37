package com.google.mediapipe.tasks.vision.imageembedder;

import com.google.mediapipe.framework.image.MPImage; import com.google.mediapipe.tasks.core.*; import com.google.mediapipe.tasks.vision.core.*;
public final class ImageEmbedder implements AutoCloseable {
    public static ImageEmbedder createFromOptions(android.content.Context context, ImageEmbedderOptions options) { return null; }
    public ImageEmbedderResult embed(MPImage image, ImageProcessingOptions options) { return null; }
    public void close() { }
    public abstract static class ImageEmbedderOptions { public static Builder builder() { return null; } public abstract static class Builder {
        public abstract Builder setBaseOptions(BaseOptions options); public abstract Builder setL2Normalize(boolean on); public final ImageEmbedderOptions build() { return null; } } }
}
