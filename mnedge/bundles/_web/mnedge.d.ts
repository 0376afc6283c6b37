import type { Answer, Options } from "./task.js";

export type Source =
  | Blob
  | ImageBitmap
  | ImageData
  | HTMLCanvasElement
  | OffscreenCanvas
  | HTMLImageElement
  | HTMLVideoElement;

/** model.json. */
export interface About {
  model: string;
  task: string;
  head: string;
  width: number;
  height: number;
  crop_fraction: number;
  interpolation: "nearest" | "bilinear" | "bicubic";
  fit?: "crop" | "stretch";
  order: "RGB" | "BGR" | "GREY" | "RGBA";
  input: { dtype: "float32" | "uint8"; shape: number[]; table: number[][] | null };
  outputs: { name: string; shape: number[]; scale: number | null; zero_point: number | null }[];
  /** Of a detector whose boxes are codes: its anchors, and which of its objects count. */
  detection?: {
    sides: number[][];
    shapes: number[][][];
    least_score: number;
    overlap: number;
    most: number;
  };
}

export interface Result {
  answer: Answer;
  /** Milliseconds of the inference. */
  ms: number;
  /** Milliseconds of decoding, resizing, inference and reading the answer. */
  all_ms: number;
  /** Of the picture, pixels. */
  width: number;
  height: number;
}

export interface Picture {
  pixels: Uint8Array;
  width: number;
  height: number;
  /** Left, top, right and bottom of what the model sees, pixels. */
  part: [number, number, number, number];
}

export class Model {
  readonly about: About;
  readonly labels: string[];
  readonly runtime: string;
  readonly threads: number;
  outputs(pixels: Uint8Array): Promise<Float32Array[]>;
  run(source: Source, options?: Options): Promise<Result>;
}

export function load(options?: { threads?: number }): Promise<Model>;
export function pixelsOf(source: Source, about: About): Promise<Picture>;
export type { Answer, Options };
