package com.google.mediapipe.tasks.core;

public abstract class BaseOptions { public static Builder builder() { return null; } public abstract static class Builder { public abstract Builder setModelAssetPath(String path); public abstract BaseOptions build(); } }
