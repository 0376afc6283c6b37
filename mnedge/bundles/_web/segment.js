// A segmenter's mask, and how the page shows it.

const colour = (index) => [(index * 137.5) % 360, index === 0 ? 0 : 0.55];

export function answerOf(outputs, about, labels, seen) {
  const [, height, width] = about.outputs[0].shape;
  const classes = about.outputs[0].shape[3] ?? 1;
  const mask = new Uint8Array(width * height);
  const counts = new Array(labels.length).fill(0);
  for (let at = 0; at < mask.length; at++) {
    let best = 0;
    if (classes === 1) best = outputs[0][at];
    else for (let index = 1; index < classes; index++) {
      if (outputs[0][at * classes + index] > outputs[0][at * classes + best]) best = index;
    }
    mask[at] = best;
    counts[best] += 1;
  }
  const shares = labels.map((label, index) => ({ label, index, fraction: counts[index] / mask.length }));
  return { mask, width, height, part: seen.part, shares };
}

export function rows({ shares }) {
  const there = shares.filter(({ fraction }) => fraction > 0).sort((one, two) => two.fraction - one.fraction);
  return there.map(({ label, fraction }) => [label, fraction]);
}

export function summary(answer) {
  const [first] = rows(answer);
  return `most of it ${first[0]}, ${Math.round(100 * first[1])} %`;
}

export function draw(context, { mask, width, height, part }, scale) {
  const layer = new OffscreenCanvas(width, height);
  const own = layer.getContext("2d");
  for (let at = 0; at < mask.length; at++) {
    const [hue, alpha] = colour(mask[at]);
    own.fillStyle = `hsl(${hue} 100% 50% / ${alpha})`;
    own.fillRect(at % width, Math.floor(at / width), 1, 1);
  }
  const [left, top, right, bottom] = part.map((at) => at * scale);
  context.imageSmoothingEnabled = false;
  context.drawImage(layer, left, top, right - left, bottom - top);
}

export function keep() {}
