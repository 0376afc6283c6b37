export interface Options {
  /** Score from which an object counts; model.json's threshold, or 0.4, where it is not given. */
  least?: number;
}

/** Objects, the surest first; a box is y1, x1, y2, x2 in pixels of the picture. */
export type Answer = { label: string; index: number; score: number; box: [number, number, number, number] }[];
