export type Options = Record<string, never>;

/** The class of each place of the mask, which covers `part` of the picture, and the share that each class has of it. */
export interface Answer {
  mask: Uint8Array;
  width: number;
  height: number;
  part: [number, number, number, number];
  shares: { label: string; index: number; fraction: number }[];
}
