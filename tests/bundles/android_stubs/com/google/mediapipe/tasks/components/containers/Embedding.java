package com.google.mediapipe.tasks.components.containers;

public abstract class Embedding { public abstract float[] floatEmbedding(); }
