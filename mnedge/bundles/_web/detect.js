// A detector's objects, and how the page shows them.

// Centre and extent codes are these times as large as what they say (Liu et al. 2016, SSD, eq. 2).
const CENTRE_SCALE = 10;
const EXTENT_SCALE = 5;

// Score from which an object counts where nobody says.
const LEAST = 0.4;

const clipped = (value) => Math.min(1, Math.max(0, value));

// Corners y1, x1, y2, x2 of every anchor's box, in fractions of what the model sees.
function decoded(codes, { sides, shapes }) {
  const corners = [];
  let at = 0;
  sides.forEach(([rows, columns], map) => {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        for (const [height, width] of shapes[map]) {
          const y = (codes[at] / CENTRE_SCALE) * height + (row + 0.5) / rows;
          const x = (codes[at + 1] / CENTRE_SCALE) * width + (column + 0.5) / columns;
          const tall = (Math.exp(codes[at + 2] / EXTENT_SCALE) * height) / 2;
          const wide = (Math.exp(codes[at + 3] / EXTENT_SCALE) * width) / 2;
          corners.push([y - tall, x - wide, y + tall, x + wide]);
          at += 4;
        }
      }
    }
  });
  return corners;
}

function overlap(one, two) {
  const tall = Math.min(one[2], two[2]) - Math.max(one[0], two[0]);
  const wide = Math.min(one[3], two[3]) - Math.max(one[1], two[1]);
  const shared = Math.max(0, tall) * Math.max(0, wide);
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  return shared / Math.max(area(one) + area(two) - shared, 1e-12);
}

// Class, score and corners of every object.
function found(outputs, about) {
  if (outputs.length === 4) {
    const [boxes, classes, scores, count] = outputs;
    return Array.from({ length: count[0] }, (_, at) => ({
      index: classes[at], score: scores[at], corners: Array.from(boxes.slice(4 * at, 4 * at + 4)),
    }));
  }
  const told = about.detection;
  const [scores, codes] = outputs;
  const corners = decoded(codes, told);
  const classes = scores.length / corners.length;
  const objects = [];
  for (let index = 0; index < classes; index++) {
    let waiting = corners
      .map((box, row) => ({ index, score: scores[row * classes + index], corners: box }))
      .filter(({ score }) => score >= told.least_score)
      .sort((one, two) => two.score - one.score);
    while (waiting.length) {
      const [best, ...others] = waiting;
      objects.push(best);
      waiting = others.filter((other) => overlap(best.corners, other.corners) <= told.overlap);
    }
  }
  return objects.sort((one, two) => two.score - one.score).slice(0, told.most);
}

export function answerOf(outputs, about, labels, seen, { least = about.threshold ?? LEAST } = {}) {
  const [left, top, right, bottom] = seen.part;
  return found(outputs, about)
    .filter(({ score }) => score >= least)
    .map(({ index, score, corners }) => {
      const [y1, x1, y2, x2] = corners.map(clipped);
      const box = [top + y1 * (bottom - top), left + x1 * (right - left), top + y2 * (bottom - top),
        left + x2 * (right - left)];
      return { label: labels[index], index, score, box };
    });
}

export function rows(answer) {
  return answer.map(({ label, score }) => [label, score]);
}

export function summary(answer) {
  return answer.length ? `${answer.length} objects, the surest ${answer[0].label}` : "no objects";
}

export function draw(context, answer, scale) {
  context.font = "14px system-ui, sans-serif";
  context.lineWidth = 3;
  for (const { label, index, score, box } of answer) {
    const [y1, x1, y2, x2] = box.map((at) => at * scale);
    const text = `${label} ${score.toFixed(2)}`;
    context.strokeStyle = context.fillStyle = `hsl(${(index * 137.5) % 360} 90% 35%)`;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.fillRect(x1, Math.max(0, y1 - 20), context.measureText(text).width + 8, 20);
    context.fillStyle = "white";
    context.fillText(text, x1 + 4, Math.max(0, y1 - 20) + 15);
  }
}

export function keep() {}
