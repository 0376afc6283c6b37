package androidx.core.content;

public class ContextCompat { public static java.util.concurrent.Executor getMainExecutor(android.content.Context context) { return null; } }
