package com.google.mediapipe.tasks.core;

public class OutputHandler { public interface ResultListener<R, I> { void run(R result, I input); } }
