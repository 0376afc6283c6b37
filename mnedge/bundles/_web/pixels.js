// Pictures as the model was measured with them: the resize is Pillow's, in the same whole numbers.

const PRECISION = 22; // bits behind the point, as in Pillow's ImagingResample for 8 bits a channel
const MOST_PIXELS = 2 ** 26;
// Shares of red, green and blue in luma (ITU-R BT.601), in 1/65536.
const LUMA = [19595, 38470, 7471];

const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    weight(x) {
      const at = Math.abs(x);
      const a = -0.5;
      if (at < 1) return ((a + 2) * at - (a + 3)) * at * at + 1;
      return at < 2 ? (((at - 5) * at + 8) * at - 4) * a : 0;
    },
  },
};

/** The part of a picture that the model sees: left, top, right and bottom, in pixels. */
export function kept(width, height, about) {
  const proportion = about.width / about.height;
  let w = Math.max(1, width * about.crop_fraction);
  let h = Math.max(1, height * about.crop_fraction);
  if ((about.fit ?? "crop") === "crop") [w, h] = [Math.min(w, h * proportion), Math.min(h, w / proportion)];
  const left = (width - w) / 2;
  const top = (height - h) / 2;
  // Pillow keeps these in 32 bits.
  return [left, top, left + w, top + h].map(Math.fround);
}

// Where each output pixel's sources begin, and their weights in 1/2^22.
function weights(extent, from, to, size, filter) {
  const scale = Math.fround(to - from) / size;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  return Array.from({ length: size }, (_, place) => {
    const centre = from + (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(extent, Math.trunc(centre + support + 0.5));
    const real = [];
    let sum = 0;
    for (let at = first; at < last; at++) {
      const weight = filter.weight((at - centre + 0.5) * (1 / stretch));
      real.push(weight);
      sum += weight;
    }
    const whole = real.map((weight) => {
      const share = sum === 0 ? weight : weight / sum;
      return Math.trunc(share * 2 ** PRECISION + (share < 0 ? -0.5 : 0.5));
    });
    return { first, whole: Int32Array.from(whole) };
  });
}

const clipped = (sum) => {
  const value = sum >> PRECISION;
  return value < 0 ? 0 : value > 255 ? 255 : value;
};

/**
 * Resizes a part of a picture.
 * @param {Uint8Array|Uint8ClampedArray} rgba Bytes, four a pixel; the fourth is not looked at.
 * @param {number} width Of the picture.
 * @param {number} height Of the picture.
 * @param {number[]} box Left, top, right and bottom of the part, which may lie between pixels.
 * @param {object} about Width, height and interpolation of the model.
 * @returns {Uint8Array} RGB, row by row.
 */
export function resized(rgba, width, height, box, about) {
  const made = new Uint8Array(about.width * about.height * 3);
  if (about.interpolation === "nearest") return nearest(rgba, width, height, box, about, made);
  const filter = FILTERS[about.interpolation];
  const columns = weights(width, box[0], box[2], about.width, filter);
  const rows = weights(height, box[1], box[3], about.height, filter);
  // Only rows that a later sum needs.
  const top = rows[0].first;
  const bottom = Math.max(...rows.map(({ first, whole }) => first + whole.length));
  const across = box[0] === 0 && box[2] === about.width && width === about.width;
  const down = box[1] === 0 && box[3] === about.height && height === about.height;
  const narrow = new Uint8Array((bottom - top) * about.width * 3);
  for (let y = top; y < bottom; y++) {
    for (let x = 0; x < about.width; x++) {
      const to = ((y - top) * about.width + x) * 3;
      if (across) {
        for (let channel = 0; channel < 3; channel++) narrow[to + channel] = rgba[(y * width + x) * 4 + channel];
        continue;
      }
      const { first, whole } = columns[x];
      let red = 1 << (PRECISION - 1);
      let green = red;
      let blue = red;
      for (let at = 0, from = (y * width + first) * 4; at < whole.length; at++, from += 4) {
        red += rgba[from] * whole[at];
        green += rgba[from + 1] * whole[at];
        blue += rgba[from + 2] * whole[at];
      }
      narrow[to] = clipped(red);
      narrow[to + 1] = clipped(green);
      narrow[to + 2] = clipped(blue);
    }
  }
  if (down) return narrow;
  const stride = about.width * 3;
  for (let y = 0; y < about.height; y++) {
    const { first, whole } = rows[y];
    for (let x = 0; x < stride; x++) {
      let sum = 1 << (PRECISION - 1);
      for (let at = 0, from = (first - top) * stride + x; at < whole.length; at++, from += stride) {
        sum += narrow[from] * whole[at];
      }
      made[y * stride + x] = clipped(sum);
    }
  }
  return made;
}

function nearest(rgba, width, height, box, about, made) {
  const stepX = Math.fround(box[2] - box[0]) / about.width;
  const stepY = Math.fround(box[3] - box[1]) / about.height;
  let y = box[1] + stepY * 0.5;
  for (let row = 0; row < about.height; row++, y += stepY) {
    let x = box[0] + stepX * 0.5;
    for (let column = 0; column < about.width; column++, x += stepX) {
      const from = (Math.min(Math.floor(y), height - 1) * width + Math.min(Math.floor(x), width - 1)) * 4;
      for (let channel = 0; channel < 3; channel++) {
        made[(row * about.width + column) * 3 + channel] = rgba[from + channel];
      }
    }
  }
  return made;
}

/** RGB pixels with the channels that the model takes: RGB, BGR, GREY or RGBA. */
export function arranged(rgb, order) {
  const count = rgb.length / 3;
  if (order === "RGB") return rgb;
  const made = new Uint8Array(count * { BGR: 3, GREY: 1, RGBA: 4 }[order]);
  for (let at = 0; at < count; at++) {
    const [red, green, blue] = [rgb[at * 3], rgb[at * 3 + 1], rgb[at * 3 + 2]];
    if (order === "BGR") made.set([blue, green, red], at * 3);
    else if (order === "RGBA") made.set([red, green, blue, 255], at * 4);
    else made[at] = (red * LUMA[0] + green * LUMA[1] + blue * LUMA[2] + 0x8000) >> 16;
  }
  return made;
}

/** A picture's bytes: decoded, turned as its EXIF says, on white where it is transparent. */
export async function opened(source) {
  const picture =
    source instanceof Blob
      ? await createImageBitmap(source, { imageOrientation: "from-image", colorSpaceConversion: "none" })
      : source;
  if (typeof ImageData !== "undefined" && picture instanceof ImageData) return picture;
  const width = picture.videoWidth ?? picture.naturalWidth ?? picture.width;
  const height = picture.videoHeight ?? picture.naturalHeight ?? picture.height;
  if (!(width > 0 && height > 0)) throw new Error("the picture has no pixels yet");
  if (width * height > MOST_PIXELS) throw new Error(`the picture has ${width} x ${height} pixels, which is too many`);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, 0, 0);
  if (picture !== source) picture.close();
  return context.getImageData(0, 0, width, height);
}

/**
 * A picture as the model takes it.
 * @returns {{pixels: Uint8Array, width: number, height: number, part: number[]}} Its pixels, channel by channel; the
 * picture's own size; and the part of it that the model sees.
 */
export async function pixelsOf(source, about) {
  const { data, width, height } = await opened(source);
  const part = kept(width, height, about);
  return { pixels: arranged(resized(data, width, height, part, about), about.order), width, height, part };
}
