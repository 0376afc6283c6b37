// LiteRT.js, on wasm.

// The smallest module with relaxed vectors; LiteRT.js has threads only where a browser takes it.
const RELAXED = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253,
  128, 2, 11,
];
const RELAXES = WebAssembly.validate(new Uint8Array(RELAXED));

export const takesThreads = RELAXES;

// The runtime is loaded once a page, for all its models.
let loaded = null;

/** Starts to load the runtime, beside which the model can be fetched. */
export function begin(threads, runtime) {
  loaded ??= { threaded: threads > 1, litert: loadedFrom(runtime, threads > 1) };
  if (threads > 1 && !loaded.threaded) throw new Error("the page has loaded the runtime for one thread");
  return loaded.litert;
}

async function loadedFrom(runtime, threads) {
  try {
    const kind = RELAXES ? (threads ? "threaded_" : "") : "compat_";
    const module = compiled(new URL(`litert_wasm_${kind}internal.wasm`, runtime));
    // Its script asks for the module once it runs itself, which is late: the module is fetched and compiled since before.
    const failed = new Promise((_, reject) => {
      module.catch(reject);
      self.Module = {
        instantiateWasm(imports, done) {
          module
            .then(async (made) => done(await WebAssembly.instantiate(made, imports), made))
            .catch(reject);
        },
      };
    });
    const litert = await import(new URL("index.js", runtime));
    await Promise.race([litert.loadLiteRt(runtime.href, { threads }), failed]);
    return litert;
  } catch (error) {
    loaded = null;
    throw error;
  }
}

async function compiled(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.pathname} cannot be had: status ${response.status}`);
  // Streams are compiled only of hosts that name the kind of the file.
  const isNamed = response.headers.get("Content-Type") === "application/wasm";
  return isNamed ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer());
}

export async function open(content, about, threads, runtime) {
  const litert = await begin(threads, runtime);
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
