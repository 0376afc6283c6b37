package com.google.mediapipe.tasks.vision.imageclassifier;

import com.google.mediapipe.framework.image.MPImage; import com.google.mediapipe.tasks.core.*; import com.google.mediapipe.tasks.vision.core.*;
public final class ImageClassifier implements AutoCloseable {
    public static ImageClassifier createFromOptions(android.content.Context context, ImageClassifierOptions options) { return null; }
    public ImageClassifierResult classify(MPImage image, ImageProcessingOptions options) { return null; }
    public void classifyAsync(MPImage image, ImageProcessingOptions options, long timestampMs) { }
    public void close() { }
    public abstract static class ImageClassifierOptions { public static Builder builder() { return null; } public abstract static class Builder {
        public abstract Builder setBaseOptions(BaseOptions options); public abstract Builder setMaxResults(Integer most); public abstract Builder setRunningMode(RunningMode mode);
        public abstract Builder setResultListener(OutputHandler.ResultListener<ImageClassifierResult, MPImage> listener); public final ImageClassifierOptions build() { return null; } } }
}
