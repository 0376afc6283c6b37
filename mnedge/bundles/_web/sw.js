// Keeps the page on this machine, so that it works without a network. Another build has another version.

const VERSION = "@VERSION@";
const FILES = @FILES@;

self.addEventListener("install", (event) => {
  const stored = caches.open(VERSION).then((cache) => cache.addAll(FILES));
  event.waitUntil(stored.then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const own = VERSION.slice(0, VERSION.lastIndexOf("-") + 1);
  const tidy = caches.keys().then((names) =>
    Promise.all(names.filter((name) => name.startsWith(own) && name !== VERSION).map((name) => caches.delete(name))),
  );
  event.waitUntil(tidy.then(() => self.clients.claim()));
});

// Of the runtime, the page names what this browser took.
self.addEventListener("message", (event) => {
  const stored = caches.open(VERSION).then(async (cache) => {
    for (const name of event.data) if (!(await cache.match(name))) await cache.add(name);
  });
  event.waitUntil(stored);
});

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  const kept = caches.open(VERSION).then((cache) => cache.match(event.request, { ignoreSearch: true }));
  event.respondWith(kept.then((response) => response ?? fetch(event.request)));
});
