// The agent in a browser: asks mnedge for work, does it with LiteRT.js or onnxruntime-web, and answers.
// A message is the length of its header (uint32, little endian), the header (JSON), and bytes.

const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array, int8: Int8Array, int64: BigInt64Array };
// The smallest modules that use 128-bit and relaxed vectors; a browser without these refuses them.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
const RELAXED = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253,
  128, 2, 11,
];

// Writes the dot products of bytes 0 to 15 and 16 to 31 of its memory, four at a time, to bytes 32 to 47.
const DOT = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 3, 1, 0, 1, 7, 9, 2, 1, 109, 2, 0, 1, 102, 0, 0, 10, 43,
  1, 41, 0, 65, 32, 65, 0, 253, 0, 4, 0, 65, 16, 253, 0, 4, 0, 253, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  253, 147, 2, 253, 11, 4, 0, 11,
];
// What the relaxed dot product makes of bytes from -128 to 127 where a processor has one that keeps all bits.
// Only with these does XNNPACK take its fast int8 kernels; elsewhere sums saturate at 16 bits.
const WHOLE_DOTS = { signed: [65536, 33024, 33024, 512], unsigned: [-65536, -98048, -98048, -130560] };

let engine = null;
let shaped = null;

async function openLiteRt(told, bytes) {
  const litert = await import("./litert/index.js");
  await litert.loadLiteRt(new URL("./litert/", import.meta.url).href, { threads: told.threads > 1 });
  const model = await litert.loadAndCompile(bytes, { accelerator: "wasm", cpuOptions: { numThreads: told.threads } });
  const details = model.getOutputDetails();
  return {
    outputs: details.map(({ name, dtype, shape }) => ({ name, dtype, shape: Array.from(shape) })),
    async run(values) {
      const input = new litert.Tensor(values, told.input.shape);
      const made = await model.run([input]);
      input.delete();
      return made.map((tensor) => {
        const copy = tensor.toTypedArray().slice();
        tensor.delete();
        return copy;
      });
    },
  };
}

async function openOnnx(told, bytes) {
  const ort = await import("./onnxruntime/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = new URL("./onnxruntime/", import.meta.url).href;
  ort.env.wasm.numThreads = told.threads;
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  return {
    outputs: session.outputNames.map((name) => ({ name, dtype: null, shape: null })),
    async run(values) {
      const feeds = { [session.inputNames[0]]: new ort.Tensor(told.input.dtype, values, told.input.shape) };
      const made = await session.run(feeds);
      return session.outputNames.map((name) => made[name].data);
    },
  };
}

// What the browser fetched to compute with.
function loadedWasm() {
  const names = performance.getEntriesByType("resource").map((entry) => entry.name);
  return names.filter((name) => name.endsWith(".wasm")).map((name) => name.split("/").pop());
}

// "signed" or "unsigned" where the browser has dot products of 8 bits, else null.
function dotProduct() {
  const bytes = new Uint8Array(DOT);
  if (!WebAssembly.validate(bytes)) return null;
  const { m: memory, f: dot } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
  const values = new Int8Array(memory.buffer, 0, 32);
  values.fill(-128);
  values.set([-1, -1, -1, -1], 22);
  values.set([-1, -1, -1, -1], 28);
  dot();
  const sums = new Int32Array(memory.buffer, 32, 4);
  const found = Object.entries(WHOLE_DOTS).find(([, wanted]) => wanted.every((sum, at) => sum === sums[at]));
  return found ? found[0] : null;
}

function facts() {
  return {
    browser: navigator.userAgent,
    cores: navigator.hardwareConcurrency,
    isolated: self.crossOriginIsolated,
    simd: WebAssembly.validate(new Uint8Array(SIMD)),
    relaxed_simd: WebAssembly.validate(new Uint8Array(RELAXED)),
    int8_dot: dotProduct(),
  };
}

const WORK = {
  async look() {
    return [facts()];
  },

  async load(told, bytes) {
    engine = await (told.runtime === "litert" ? openLiteRt(told, bytes) : openOnnx(told, bytes));
    shaped = told.input;
    return [{ outputs: engine.outputs, ...facts(), wasm: loadedWasm() }];
  },

  async run(told, bytes) {
    const parts = [];
    for (let at = 0; at < told.count; at++) {
      parts.push(...(await engine.run(taken(bytes, at))));
    }
    return [{}, ...parts];
  },

  async time(told, bytes) {
    const values = taken(bytes, 0);
    const ms = [];
    const started = performance.now();
    for (let before = started; ms.length < told.runs || before - started < told.ms; ) {
      await engine.run(values);
      const after = performance.now();
      ms.push(after - before);
      before = after;
    }
    return [{ ms }];
  },
};

// One image of the bytes of several.
function taken(bytes, at) {
  const kind = ARRAYS[shaped.dtype];
  const length = shaped.shape.reduce((one, two) => one * two, 1);
  const size = length * kind.BYTES_PER_ELEMENT;
  return new kind(bytes.slice(at * size, (at + 1) * size).buffer);
}

async function next() {
  for (;;) {
    const response = await fetch("next", { cache: "no-store" });
    if (response.status === 200) {
      const message = new Uint8Array(await response.arrayBuffer());
      const length = new DataView(message.buffer).getUint32(0, true);
      return [JSON.parse(new TextDecoder().decode(message.subarray(4, 4 + length))), message.slice(4 + length)];
    }
    if (response.status !== 204) throw new Error(`status ${response.status}`);
  }
}

async function say(header, ...parts) {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, text.length, true);
  await fetch("answer", { method: "POST", body: new Blob([length, text, ...parts]) });
}

// Engines tell some faults to the console only, and throw a number.
const said = [];
for (const kind of ["error", "warn"]) {
  const own = console[kind];
  console[kind] = (...words) => {
    said.push(words.map(String).join(" "));
    own(...words);
  };
}

await say({ hello: true });
for (;;) {
  const [told, bytes] = await next();
  said.length = 0;
  let answer;
  try {
    answer = await WORK[told.do](told, bytes);
  } catch (error) {
    answer = [{ error: [String(error?.message ?? error), ...said].join("; ").slice(0, 2000) }];
  }
  await say(...answer);
}
