package ai.onnxruntime;

public class OrtSession implements AutoCloseable { public java.util.Set<String> getInputNames() { return null; } public Result run(java.util.Map<String, ? extends OnnxTensor> inputs) throws OrtException { return null; } public void close() throws OrtException { }
    public static class Result implements AutoCloseable, Iterable<java.util.Map.Entry<String, OnnxValue>> { public java.util.Iterator<java.util.Map.Entry<String, OnnxValue>> iterator() { return null; } public void close() { } } }
