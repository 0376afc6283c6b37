package com.google.mediapipe.tasks.components.containers;

public abstract class Detection { public abstract java.util.List<Category> categories(); public abstract android.graphics.RectF boundingBox(); }
