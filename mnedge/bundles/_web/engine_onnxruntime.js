// onnxruntime-web, on wasm.

export const takesThreads = true;

/** Starts to load the runtime, beside which the model can be fetched. */
export function begin(_threads, runtime) {
  return import(new URL("ort.wasm.min.mjs", runtime));
}

export async function open(content, about, threads, runtime) {
  const ort = await begin(threads, runtime);
  ort.env.wasm.wasmPaths = runtime.href;
  ort.env.wasm.numThreads = threads;
  const session = await ort.InferenceSession.create(new Uint8Array(await content), { executionProviders: ["wasm"] });
  return {
    runtime: "ONNX Runtime Web",
    threads,
    async run(values) {
      const made = await session.run({ [session.inputNames[0]]: new ort.Tensor("float32", values, about.input.shape) });
      return about.outputs.map(({ name }) => made[name].data);
    },
  };
}
