package com.google.mediapipe.tasks.vision.core;

public abstract class ImageProcessingOptions { public static Builder builder() { return null; } public abstract static class Builder { public abstract Builder setRegionOfInterest(android.graphics.RectF region); public abstract Builder setRotationDegrees(int degrees); public abstract ImageProcessingOptions build(); } }
