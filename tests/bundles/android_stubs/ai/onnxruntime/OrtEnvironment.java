package ai.onnxruntime;

public final class OrtEnvironment implements AutoCloseable { public static OrtEnvironment getEnvironment() { return null; } public void setTelemetry(boolean on) throws OrtException { } public OrtSession createSession(byte[] model) throws OrtException { return null; } public void close() { } }
