// The page: a picture from a file, the clipboard, an address (?picture=) or the camera; its answer; how long it took.

import { load } from "./mnedge.js";
import { draw, keep, rows, summary } from "./task.js";

const WIDEST = 960;
const element = (name) => document.getElementById(name);
const [canvas, status, answers, facts] = ["picture", "status", "answers", "facts"].map(element);
const [file, camera, drop] = ["file", "camera", "drop"].map(element);
let stream = null;

function say(text, wrong = false) {
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

function tell(values) {
  facts.replaceChildren(
    ...Object.entries(values).flatMap(([name, value]) => {
      const [term, told] = ["dt", "dd"].map((kind) => document.createElement(kind));
      term.textContent = name;
      told.textContent = value;
      return [term, told];
    }),
  );
}

function list(answer) {
  answers.replaceChildren(
    ...rows(answer).map(([label, score, text = `${(100 * score).toFixed(1)} %`]) => {
      const [row, name, value, bar] = ["li", "span", "span", "meter"].map((kind) => document.createElement(kind));
      name.textContent = label;
      value.textContent = text;
      bar.value = score;
      bar.setAttribute("aria-label", label);
      row.append(name, value, bar);
      return row;
    }),
  );
}

async function show(model, source) {
  const result = await model.run(source);
  const picture =
    source instanceof Blob ? await createImageBitmap(source, { imageOrientation: "from-image" }) : source;
  const scale = Math.min(1, WIDEST / result.width);
  canvas.width = Math.round(result.width * scale);
  canvas.height = Math.round(result.height * scale);
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  draw(context, result.answer, scale);
  const words = summary(result.answer);
  canvas.setAttribute("aria-label", `Picture: ${words}`);
  list(result.answer);
  if (stream === null) {
    say(words);
    keep(result.answer, source.name);
  }
  tell({
    Inference: `${result.ms.toFixed(1)} ms`,
    "With decoding and resizing": `${result.all_ms.toFixed(1)} ms`,
    Runtime: `${model.runtime}, ${model.threads === 1 ? "1 thread" : `${model.threads} threads`}`,
    Model: model.about.model,
  });
}

async function tried(model, source) {
  try {
    await show(model, await source);
  } catch (error) {
    say(`This picture cannot be read: ${error.message}`, true);
  }
}

async function watch(model) {
  if (stream !== null) {
    stream.getTracks().forEach((track) => track.stop());
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    say(`No camera: ${error.message}`, true);
    return;
  }
  camera.textContent = "Stop the camera";
  camera.setAttribute("aria-pressed", "true");
  say("The camera is on; the answer below follows it");
  const video = document.createElement("video");
  video.muted = video.playsInline = true;
  video.srcObject = stream;
  await video.play();
  const [track] = stream.getVideoTracks();
  while (track.readyState === "live") {
    await tried(model, video);
    await new Promise(requestAnimationFrame);
  }
  stream = null;
  camera.textContent = "Use the camera";
  camera.setAttribute("aria-pressed", "false");
  say("The camera is off");
}

// Once it is on this machine, the page needs no network: what was loaded is kept, see sw.js.
async function store() {
  if (!("serviceWorker" in navigator)) return;
  const { active } = await navigator.serviceWorker.register("sw.js").then(() => navigator.serviceWorker.ready);
  const here = new URL("./", location.href).href;
  const loaded = performance.getEntriesByType("resource").map(({ name }) => name);
  active.postMessage(loaded.filter((name) => name.startsWith(here) && !name.includes("?")));
}

async function start() {
  const named = new URLSearchParams(location.search).get("picture");
  const given = named === null ? null : fetch(new URL(named, location.href)).then((response) => response.blob());
  given?.catch(() => {});
  let model;
  try {
    model = await load();
  } catch (error) {
    say(`The model does not load: ${error.message ?? error}`, true);
    return;
  }
  say("Ready: choose a picture");
  tell({ Runtime: model.runtime, Model: model.about.model });
  file.addEventListener("change", () => file.files[0] && tried(model, file.files[0]));
  camera.addEventListener("click", () => watch(model));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
    });
  }
  drop.addEventListener("drop", ({ dataTransfer }) => dataTransfer.files[0] && tried(model, dataTransfer.files[0]));
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files[0]) tried(model, clipboardData.files[0]);
  });
  if (given !== null) await tried(model, given);
  document.body.dataset.ready = String(Math.round(performance.now()));
  await store();
}

start();
