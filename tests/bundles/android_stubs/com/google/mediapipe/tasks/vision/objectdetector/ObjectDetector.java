package com.google.mediapipe.tasks.vision.objectdetector;

import com.google.mediapipe.framework.image.MPImage; import com.google.mediapipe.tasks.core.*; import com.google.mediapipe.tasks.vision.core.*;
public final class ObjectDetector implements AutoCloseable {
    public static ObjectDetector createFromOptions(android.content.Context context, ObjectDetectorOptions options) { return null; }
    public ObjectDetectorResult detect(MPImage image) { return null; }
    public void detectAsync(MPImage image, long timestampMs) { }
    public void close() { }
    public abstract static class ObjectDetectorOptions { public static Builder builder() { return null; } public abstract static class Builder {
        public abstract Builder setBaseOptions(BaseOptions options); public abstract Builder setMaxResults(Integer most); public abstract Builder setScoreThreshold(Float score); public abstract Builder setRunningMode(RunningMode mode);
        public abstract Builder setResultListener(OutputHandler.ResultListener<ObjectDetectorResult, MPImage> listener); public final ObjectDetectorOptions build() { return null; } } }
}
