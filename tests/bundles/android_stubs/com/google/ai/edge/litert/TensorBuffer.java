package com.google.ai.edge.litert;

public final class TensorBuffer implements AutoCloseable {
    private byte[] bytes; public TensorBuffer(byte[] bytes) { this.bytes = bytes; }
    public void writeInt8(byte[] data) { bytes = data; } public byte[] readInt8() { return bytes; } public void close() { }
}
