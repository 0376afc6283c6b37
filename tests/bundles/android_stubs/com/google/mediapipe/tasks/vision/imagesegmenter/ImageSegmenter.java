package com.google.mediapipe.tasks.vision.imagesegmenter;

import com.google.mediapipe.framework.image.MPImage; import com.google.mediapipe.tasks.core.*; import com.google.mediapipe.tasks.vision.core.*;
public final class ImageSegmenter implements AutoCloseable {
    public static ImageSegmenter createFromOptions(android.content.Context context, ImageSegmenterOptions options) { return null; }
    public ImageSegmenterResult segment(MPImage image) { return null; }
    public void segmentAsync(MPImage image, long timestampMs) { }
    public java.util.List<String> getLabels() { return null; }
    public void close() { }
    public abstract static class ImageSegmenterOptions { public static Builder builder() { return null; } public abstract static class Builder {
        public abstract Builder setBaseOptions(BaseOptions options); public abstract Builder setOutputCategoryMask(boolean on); public abstract Builder setOutputConfidenceMasks(boolean on); public abstract Builder setRunningMode(RunningMode mode);
        public abstract Builder setResultListener(OutputHandler.ResultListener<ImageSegmenterResult, MPImage> listener); public final ImageSegmenterOptions build() { return null; } } }
}
