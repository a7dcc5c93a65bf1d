// The frame around what an agent shows. It holds the live connection: it turns and reloads the page inside, hands surfaces
// to their renderer, and passes actions on. What is inside speaks to it by messages only and is trusted with nothing.
"use strict";

const PAUSE_MIN = 250;
const PAUSE_MAX = 15_000;
const RELOAD_PAUSE = 75;
const STATE_SHOWN = 2_500;
const WAITING_MAX = 64;
const TEXT_MAX = 24 << 10;

const { ticket, board, path: wanted } = document.body.dataset;
const state = document.getElementById("state");
const frames = new Map();
const waiting = new Map();
let socket = null;
let pause = PAUSE_MIN;
let stamp = null;
let shown = null;
let rev = 0;
let reloading = 0;

function phase(name, words = "") {
  state.dataset.phase = name;
  clearTimeout(note.timer);
  state.textContent = words;
}

/** Words that go away by themselves. */
function note(words) {
  clearTimeout(note.timer);
  state.textContent = words;
  note.timer = setTimeout(() => { state.textContent = ""; }, STATE_SHOWN);
}

/** A frame that shares nothing with this page. */
function frame(name, src) {
  let it = frames.get(name);
  if (!it) {
    const element = document.createElement("iframe");
    element.setAttribute("sandbox", "allow-scripts allow-forms");
    element.referrerPolicy = "no-referrer";
    element.title = name;
    it = { element, ready: false, queue: [] };
    frames.set(name, it);
    element.src = src;
    document.body.append(element);
  }
  return it;
}

// --- pages ---

const place = (path) => `/canvas/${ticket}/~/${path.split("/").map(encodeURIComponent).join("/")}`;

function show(path) {
  shown = path;
  frame("canvas", place(path)).element.src = place(path);
}

function reload() {
  clearTimeout(reloading);
  reloading = setTimeout(() => show(shown), RELOAD_PAUSE);
}

// --- surfaces: a renderer for each version, in a frame of its own ---

const renderer = (version) => (version === "v0.8" ? "v08" : "v09");

function tell(name, message) {
  const it = frame(name, `/a2ui/${ticket}/~/${name}.html`);
  if (it.ready) it.element.contentWindow.postMessage(message, "*");
  else it.queue.push(message);
}

function draw({ version, messages }) {
  tell(renderer(version), { adjutant: 1, type: "draw", messages });
}

function startOver(surfaces) {
  for (const name of frames.keys()) tell(name, { adjutant: 1, type: "clear" });
  surfaces.forEach(draw);
}

// --- the live connection ---

function hear(news) {
  switch (news.type) {
    case "hello":
      phase("connected");
      pause = PAUSE_MIN;
      if (board === "a2ui") startOver(news.surfaces);
      else if (shown === null) show(wanted || news.page);
      else if (stamp !== news.stamp) reload();
      stamp = news.stamp;
      rev = news.rev;
      break;
    case "reload":
      stamp = news.stamp;
      if (board === "canvas" && shown !== null) reload();
      break;
    case "show":
      if (board === "canvas") show(news.page);
      break;
    case "surface":
      // One that is missing: the next connection begins with how things stand.
      if (board === "a2ui" && news.rev !== rev + 1) return socket.close();
      rev = news.rev;
      if (board === "a2ui") draw(news);
      break;
    case "outcome":
      settle(news.id, news.accepted, news.reason);
      break;
  }
}

function connect() {
  const scheme = window.location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${window.location.host}/canvas-ws/${ticket}`);
  socket.onmessage = ({ data }) => hear(JSON.parse(data));
  socket.onclose = ({ code }) => {
    for (const id of [...waiting.keys()]) settle(id, false, "the connection was lost");
    if (code === 4004) return phase("ended", "This view has ended. Open the canvas again.");
    phase("connecting", "Connecting…");
    setTimeout(connect, pause * (1 + Math.random() / 4));
    pause = Math.min(pause * 2, PAUSE_MAX);
  };
}

// --- actions ---

function settle(id, accepted, reason) {
  const it = waiting.get(id);
  if (!it) return;
  waiting.delete(id);
  note(accepted ? "Accepted" : `Refused: ${reason}`);
  it.source.postMessage({ adjutant: 1, type: "outcome", call: it.call, accepted, reason }, "*");
}

const random = () => [...crypto.getRandomValues(new Uint8Array(16))].map((it) => it.toString(16).padStart(2, "0")).join("");

window.addEventListener("message", ({ source, data }) => {
  const [name, it] = [...frames].find(([, other]) => other.element.contentWindow === source) ?? [];
  if (!it || data?.adjutant !== 1) return;
  if (data.type === "ready" && name !== "canvas") {
    it.ready = true;
    for (const message of it.queue.splice(0)) source.postMessage(message, "*");
  } else if (data.type === "action" || data.type === "problem") {
    pass(name, source, data);
  }
});

function pass(name, source, data) {
  const id = random();
  const text = JSON.stringify({
    type: data.type, id, name: data.name, context: data.context, page: name === "canvas" ? shown : undefined,
    surfaceId: data.surfaceId, sourceComponentId: data.sourceComponentId, reason: data.reason,
  });
  if (data.type === "problem") {
    if (text.length <= TEXT_MAX && socket.readyState === WebSocket.OPEN) socket.send(text);
    return;
  }
  waiting.set(id, { source, call: data.call });
  if (socket.readyState !== WebSocket.OPEN) settle(id, false, "not connected");
  else if (TEXT_MAX < text.length) settle(id, false, "too much at once");
  else if (WAITING_MAX < waiting.size) settle(id, false, "too many at once");
  else {
    note("Sent…");
    socket.send(text);
  }
}

connect();
