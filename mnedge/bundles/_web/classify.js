// A classifier's answers, and how the page shows them.

const THRESHOLD = 0.5;

export function answerOf(outputs, about, labels, _seen, { top = 5, threshold = about.threshold } = {}) {
  let scores = Array.from(outputs[0]);
  if (about.head === "sigmoid" || about.head === "multi-label") {
    return labels.map((label, index) => ({ label, index, score: scores[index], yes: scores[index] >= (threshold ?? THRESHOLD) }));
  }
  if (about.head === "logits") {
    const most = Math.max(...scores);
    const shares = scores.map((score) => Math.exp(score - most));
    const sum = shares.reduce((one, two) => one + two, 0);
    scores = shares.map((share) => share / sum);
  }
  let places = scores.map((_, index) => index).sort((one, two) => scores[two] - scores[one] || one - two);
  if (threshold !== undefined && scores.length === 2) {
    places = scores[1] >= threshold ? [1, 0] : [0, 1];
  }
  return places.slice(0, top).map((index) => ({ label: labels[index], index, score: scores[index] }));
}

export function rows(answer) {
  return answer.map(({ label, score, yes }) => [yes === undefined ? label : `${label}: ${yes ? "yes" : "no"}`, score]);
}

export function summary(answer) {
  const said = answer.filter(({ yes }) => yes !== false);
  return said.length ? `${said[0].label}, ${Math.round(100 * said[0].score)} %` : "none of the labels";
}

export function draw() {}

export function keep() {}
