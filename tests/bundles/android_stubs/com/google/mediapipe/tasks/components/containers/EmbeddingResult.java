package com.google.mediapipe.tasks.components.containers;

public abstract class EmbeddingResult { public abstract java.util.List<Embedding> embeddings(); }
