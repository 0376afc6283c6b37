// LiteRT.js, on wasm.

// The runtime is loaded once a page, for all its models.
let loaded = null;

async function runtimeOf(runtime, threads) {
  loaded ??= { threaded: threads > 1, litert: loadedFrom(runtime, threads > 1) };
  if (threads > 1 && !loaded.threaded) throw new Error("the page has loaded the runtime for one thread");
  return loaded.litert;
}

async function loadedFrom(runtime, threads) {
  try {
    const litert = await import(new URL("index.js", runtime));
    await litert.loadLiteRt(runtime.href, { threads });
    return litert;
  } catch (error) {
    loaded = null;
    throw error;
  }
}

export async function open(content, about, threads, runtime) {
  const litert = await runtimeOf(runtime, threads);
  const settings = { accelerator: "wasm", cpuOptions: { numThreads: threads } };
  const model = await litert.loadAndCompile(new Uint8Array(await content), settings);
  // The runtime may list outputs in another order than the file.
  const names = model.getOutputDetails().map(({ name }) => name);
  const shapes = model.getOutputDetails().map(({ shape }) => Array.from(shape).join());
  const order = about.outputs.map(({ name, shape }) => {
    const place = names.indexOf(name);
    return place >= 0 ? place : shapes.indexOf(shape.join());
  });
  if (new Set(order).size !== names.length || order.includes(-1)) {
    throw new Error(`the model's outputs ${names.join(", ")} are not those of model.json`);
  }
  return {
    runtime: "LiteRT.js",
    threads,
    async run(values) {
      const input = new litert.Tensor(values, about.input.shape);
      const made = await model.run([input]);
      input.delete();
      const copies = made.map((tensor) => {
        const copy = tensor.toTypedArray().slice();
        tensor.delete();
        return copy;
      });
      return order.map((place) => copies[place]);
    },
  };
}
