// An embedding, and how alike it is to those of the pictures before it.

const MOST = 5;
// Pictures of this visit, by name; they are kept as vectors, and only in this tab.
const before = [];

export function answerOf(outputs, _about, _labels, _seen, _options) {
  const [vector] = outputs;
  // 8 bits round the length that the model gave it.
  const length = Math.max(Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0)), 1e-12);
  return { embedding: vector.map((value) => value / length) };
}

/** The cosine of two embeddings, at most 1. */
export function similarity(one, two) {
  return one.embedding.reduce((sum, value, at) => sum + value * two.embedding[at], 0);
}

function nearest(answer) {
  return before
    .map(({ name, seen }) => ({ name, alike: similarity(answer, seen) }))
    .sort((one, two) => two.alike - one.alike)
    .slice(0, MOST);
}

export function rows(answer) {
  return nearest(answer).map(({ name, alike }) => [name, alike, alike.toFixed(3)]);
}

export function summary(answer) {
  const [best] = nearest(answer);
  return best ? `most like ${best.name}, ${best.alike.toFixed(3)}` : "the first picture: the next ones are compared with it";
}

export function keep(answer, name) {
  before.push({ name: `picture ${before.length + 1}${name ? ` (${name})` : ""}`, seen: answer });
}

export function draw() {}
