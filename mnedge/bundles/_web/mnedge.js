// The model for a page of one's own:
//   import { load } from "./mnedge.js";
//   const model = await load();
//   const { answer, ms } = await model.run(file);
// A source is a Blob or File, an ImageBitmap, an ImageData, a canvas, an <img> or a <video>.

import { answerOf } from "./task.js";
import { begin, open, takesThreads } from "./engine.js";
import { pixelsOf } from "./pixels.js";

const HERE = new URL("./", import.meta.url);

async function fetched(name) {
  const response = await fetch(new URL(name, HERE));
  if (!response.ok) throw new Error(`${name} cannot be had: status ${response.status}`);
  return response;
}

/** Pixels as the input has them: steps or reals, by a table of the 256 values of each channel. */
function encoded(pixels, about) {
  const kind = about.input.dtype === "float32" ? Float32Array : Uint8Array;
  const { table } = about.input;
  if (table === null) return kind.from(pixels);
  const made = new kind(pixels.length);
  for (let at = 0; at < pixels.length; at++) made[at] = table[at % table.length][pixels[at]];
  return made;
}

/** Outputs as reals. */
function decoded(values, output) {
  if (output.scale === null) return Float32Array.from(values, Number);
  return Float32Array.from(values, (step) => (step - output.zero_point) * output.scale);
}

export class Model {
  #run;

  constructor(about, labels, engine) {
    this.about = about;
    this.labels = labels;
    this.runtime = engine.runtime;
    this.threads = engine.threads;
    this.#run = engine.run;
  }

  /** The real outputs for the pixels that `pixelsOf` gives. */
  async outputs(pixels) {
    const made = await this.#run(encoded(pixels, this.about));
    return made.map((values, place) => decoded(values, this.about.outputs[place]));
  }

  /** What the model says of a picture, and the milliseconds of the inference alone and of all of it. */
  async run(source, options = {}) {
    const started = performance.now();
    const { pixels, width, height, part } = await pixelsOf(source, this.about);
    const ready = performance.now();
    const outputs = await this.outputs(pixels);
    const done = performance.now();
    const seen = { width, height, part };
    const answer = answerOf(outputs, this.about, this.labels, seen, options);
    return { answer, ms: done - ready, all_ms: performance.now() - started, width, height };
  }
}

/**
 * Loads the model beside this file.
 * @param {{threads?: number}} options Threads; more than one need a page that is cross-origin isolated.
 */
export async function load(options = {}) {
  const most = self.crossOriginIsolated && takesThreads ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  const threads = options.threads ?? most;
  if (threads > 1 && !self.crossOriginIsolated) {
    throw new Error("threads need the headers of the file _headers: the page is not cross-origin isolated");
  }
  if (threads > 1 && !takesThreads) throw new Error("this browser has no relaxed SIMD, without which there is 1 thread");
  // The runtime, which is the largest, comes while the model does.
  const runtime = new URL("runtime/", HERE);
  const opened = Promise.resolve(begin(threads, runtime));
  const labelled = fetched("labels.txt").then((response) => response.text());
  const described = fetched("model.json").then((response) => response.json());
  const [about, labels, engine] = await Promise.all([
    described,
    labelled,
    described.then((told) => {
      const content = fetched(told.model).then((response) => response.arrayBuffer());
      return open(content, told, threads, runtime);
    }),
    opened,
  ]);
  return new Model(about, labels.split("\n").slice(0, -1), engine);
}

export { pixelsOf };
