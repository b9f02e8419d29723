// One WebSocket a tab: numbers are swapped in place, new rows wait behind a pill.
//
// Messages: {kind: "kpi", values: {key: html}}, {kind: "feed", items: [{feed, id, html}]}
// {kind: "poke"} (there is news: ask) and {kind: "beat", at}. A page with
// data-live-source asks that address for {values, items} every two seconds too: it must
// notice a Redis that is gone, and then no socket tells anything. The server sends ready HTML, escaped there.
const STALE_MS = 10_000;
const RETRY_MS = [500, 1000, 2000, 4000, 8000, 15_000];
const FEED_MAX = 50;
const ASK_MS = 2000;

const dot = document.querySelector("[data-live-state]");
const pause = document.querySelector("[data-live-pause]");
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium", timeZone: "UTC" });
let tries = 0;
let heardAt = 0;
let paused = false;
let asking = false;
let held = {};
const waiting = new Map();

function state(name, text) {
  if (!dot || (dot.dataset.state === name && dot.dataset.text === text)) return;
  dot.dataset.state = name;
  dot.dataset.text = text;
  for (const part of dot.querySelectorAll("[data-live-text]")) part.textContent = text;
  document.body.classList.toggle("is-stale", name === "stale");
}

function tick() {
  const last = heardAt ? clock.format(heardAt) : "";
  if (paused) state("paused", "Paused");
  else if (!heardAt) state("off", "Connecting");
  else if (Date.now() - heardAt > STALE_MS) state("stale", `Last update ${last} UTC`);
  else state("live", "Live");
}

/** Swap numbers; never a part that somebody is using. */
function swap(values) {
  for (const [key, html] of Object.entries(values)) {
    for (const part of document.querySelectorAll(`[data-live="${CSS.escape(key)}"]`)) {
      if (part.innerHTML === html || part.contains(document.activeElement)) continue;
      if (part.querySelector("details[open]")) continue;
      part.innerHTML = html;
      part.classList.remove("changed");
      void part.offsetWidth; // Starts the animation anew.
      part.classList.add("changed");
    }
  }
}

/** Put waiting rows on top of their list and drop the oldest. */
function reveal(list, pill) {
  const rows = waiting.get(list) ?? new Map();
  waiting.delete(list);
  for (const html of rows.values()) list.insertAdjacentHTML("afterbegin", html);
  while (list.children.length > FEED_MAX) list.lastElementChild.remove();
  pill.hidden = true;
  document.querySelector(`[data-feed-empty="${CSS.escape(list.dataset.feed)}"]`)?.remove();
}

function feed(items) {
  for (const item of items) {
    for (const list of document.querySelectorAll(`[data-feed="${CSS.escape(item.feed)}"]`)) {
      if (item.id && list.querySelector(`[data-id="${CSS.escape(item.id)}"]`)) continue;
      const rows = waiting.get(list) ?? new Map();
      rows.set(item.id || item.html, item.html);
      if (rows.size > FEED_MAX) rows.delete(rows.keys().next().value);
      waiting.set(list, rows);
      const pill = pillOf(list);
      pill.textContent = `${rows.size >= FEED_MAX ? `${FEED_MAX}+` : rows.size} new`;
      pill.hidden = false;
    }
  }
}

/** The button above a list that tells how many rows wait. */
function pillOf(list) {
  const found = list.previousElementSibling;
  if (found?.matches(".new-pill")) return found;
  const pill = document.createElement("button");
  pill.type = "button";
  pill.className = "btn btn-small new-pill";
  pill.addEventListener("click", () => reveal(list, pill));
  list.before(pill);
  return pill;
}

function take(message) {
  heardAt = Date.now();
  if (message.kind === "kpi") {
    if (paused) held = { ...held, ...message.values };
    else swap(message.values);
  } else if (message.kind === "feed" && !paused) feed(message.items);
  tick();
}

/** Ask the page's own source for what moved; one question at a time. */
async function ask() {
  const source = document.querySelector("[data-live-source]");
  if (!source || paused || asking || document.hidden) return;
  asking = true;
  try {
    const list = source.querySelector("[data-feed]");
    const query = new URLSearchParams(location.search);
    const newest = list?.querySelector("[data-id]")?.dataset.id;
    if (newest) query.set("newest", newest);
    const answer = await fetch(`${source.dataset.liveSource}?${query}`);
    if (!answer.ok) return;
    const { values, items } = await answer.json();
    take({ kind: "kpi", values });
    if (list) take({ kind: "feed", items });
  } catch {
    // The server is away: the figures grow stale, and the next question follows.
  } finally {
    asking = false;
  }
}

function open() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/ws`);
  socket.addEventListener("message", (event) => {
    tries = 0;
    const message = JSON.parse(event.data);
    if (message.kind === "poke") ask();
    else take(message);
  });
  socket.addEventListener("close", (event) => {
    if (event.code === 4401) return; // Signed out: asking again changes nothing.
    // Jitter, so that a restart is not met by every tab at once.
    const wait = RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)];
    setTimeout(open, wait * (0.75 + Math.random() / 2));
  });
}

export function connect() {
  pause?.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    if (!paused) {
      swap(held);
      held = {};
    }
    tick();
  });
  open();
  setInterval(tick, 1000);
  setInterval(ask, ASK_MS);
}
