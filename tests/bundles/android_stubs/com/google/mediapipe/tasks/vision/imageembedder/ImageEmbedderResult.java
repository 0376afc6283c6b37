package com.google.mediapipe.tasks.vision.imageembedder;

public abstract class ImageEmbedderResult { public abstract com.google.mediapipe.tasks.components.containers.EmbeddingResult embeddingResult(); }
