package com.google.mediapipe.tasks.vision.imagesegmenter;

public abstract class ImageSegmenterResult { public abstract java.util.Optional<com.google.mediapipe.framework.image.MPImage> categoryMask(); }
