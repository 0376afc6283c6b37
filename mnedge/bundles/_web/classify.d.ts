export interface Options {
  /** How many classes, where they exclude each other; 5 where it is not given. */
  top?: number;
  /** Score from which a label is a yes, and the second of two classes comes first; model.json's where it is not given. */
  threshold?: number;
}

/** The most probable classes, or of labels by themselves a yes or no for each. */
export type Answer = { label: string; index: number; score: number; yes?: boolean }[];
