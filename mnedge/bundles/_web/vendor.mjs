// Copies the runtime that npm installed into runtime/: npm install && npm run vendor

import { mkdir, readFile, writeFile } from "node:fs/promises";

const FILES = @FILES@;
const REWRITTEN = @REWRITTEN@;

await mkdir("runtime", { recursive: true });
for (const [name, path] of Object.entries(FILES)) {
  let content = await readFile(`node_modules/${path}`);
  if (/\.m?js$/.test(name)) {
    let text = content.toString("latin1");
    for (const [one, other] of Object.entries(REWRITTEN)) text = text.replaceAll(one, other);
    content = Buffer.from(text, "latin1");
  }
  await writeFile(`runtime/${name}`, content);
}
