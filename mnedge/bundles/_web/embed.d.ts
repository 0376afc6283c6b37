export type Options = Record<string, never>;

/** A vector of length 1. */
export interface Answer {
  embedding: Float32Array;
}

/** The cosine of two embeddings, at most 1. */
export function similarity(one: Answer, two: Answer): number;
