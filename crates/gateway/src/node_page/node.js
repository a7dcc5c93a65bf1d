// This page as a node: a key of its own, one WebSocket to the gateway it came from, and what the person allows.

const PROTOCOL = { min: 3, max: 4 };
const PAUSE_MIN = 1_000;
const PAUSE_MAX = 30_000;
const PAIRING_PAUSE = 5_000;
const ANSWERS_MAX = 64;
const ANSWERS_CHARS_MAX = 16 << 20;
const LOG_MAX = 100;
const NOTES_MAX = 20;

const $ = (id) => document.getElementById(id);
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const text = new TextEncoder();

class Fault extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

// --- the key and the token, in this browser only ---

function openStore() {
  return new Promise((done, fail) => {
    const request = indexedDB.open("adjutant-node", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("kept");
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
}

async function kept(mode, work) {
  const db = await openStore();
  try {
    return await new Promise((done, fail) => {
      const transaction = db.transaction("kept", mode);
      const request = work(transaction.objectStore("kept"));
      transaction.oncomplete = () => done(request.result);
      transaction.onerror = () => fail(transaction.error);
    });
  } finally {
    db.close();
  }
}

const get = (name) => kept("readonly", (store) => store.get(name));
const put = (name, value) => kept("readwrite", (store) => store.put(value, name));
const forget = (name) => kept("readwrite", (store) => store.delete(name));

function base64(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(binary);
}

const base64url = (bytes) => base64(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const hex = (bytes) => [...bytes].map((it) => it.toString(16).padStart(2, "0")).join("");

async function identity() {
  if (!crypto.subtle) {
    throw new Fault("INSECURE", "a key needs a secure page: open it as https:// or on localhost");
  }
  let pair = await get("key");
  if (!pair) {
    pair = await crypto.subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"]);
    await put("key", pair);
  }
  const raw = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const id = hex(new Uint8Array(await crypto.subtle.digest("SHA-256", raw)));
  return { pair, id, publicKey: base64url(raw) };
}

// --- what this device can do ---

function platform() {
  const agent = navigator.userAgent;
  if (/iPhone|iPad|iPod/.test(agent)) return "ios";
  if (/Android/.test(agent)) return "android";
  if (/Mac OS X/.test(agent)) return "darwin";
  if (/Windows/.test(agent)) return "win32";
  return /Linux/.test(agent) ? "linux" : "browser";
}

const range = (name, value, fallback, min, max) => {
  const number = value ?? fallback;
  if (typeof number !== "number" || !(min <= number && number <= max)) {
    throw new Fault("INVALID_PARAMS", `\`${name}\` must be ${min} to ${max}`);
  }
  return number;
};

async function cameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter((it) => it.kind === "videoinput");
}

async function openCamera(params, audio = false) {
  const facing = params.facing ?? "front";
  if (!["front", "back"].includes(facing)) throw new Fault("INVALID_PARAMS", "`facing` is front or back");
  const video = params.deviceId
    ? { deviceId: { exact: String(params.deviceId) } }
    : { facingMode: facing === "front" ? "user" : "environment" };
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio });
  } catch (error) {
    if (error.name === "NotAllowedError") throw new Fault("CAMERA_PERMISSION_REQUIRED", "this browser does not allow the camera");
    throw new Fault("CAMERA_DISABLED", `the camera cannot be used: ${error.name}`);
  }
}

async function withCamera(params, what, work) {
  const stream = await openCamera(params);
  const view = $("view");
  show($("busy"), `Camera in use: ${what}`);
  try {
    view.srcObject = stream;
    view.hidden = false;
    await view.play();
    return await work(stream, view);
  } finally {
    for (const track of stream.getTracks()) track.stop();
    view.srcObject = null;
    view.hidden = true;
    hide($("busy"));
  }
}

const encoded = (canvas, quality) =>
  new Promise((done) => canvas.toBlob((blob) => done(blob), "image/jpeg", quality));

async function snap(params, limits) {
  const maxWidth = range("maxWidth", params.maxWidth, 1_600, 16, 8_192);
  let quality = range("quality", params.quality, 0.9, 0, 1);
  const delay = range("delayMs", params.delayMs, 0, 0, 10_000);
  return withCamera(params, "a picture is taken", async (_stream, view) => {
    await wait(delay);
    const scale = Math.min(1, maxWidth / view.videoWidth);
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(view.videoWidth * scale);
    canvas.height = Math.round(view.videoHeight * scale);
    canvas.getContext("2d").drawImage(view, 0, 0, canvas.width, canvas.height);
    let blob = await encoded(canvas, quality);
    while (limits.bytes < blob.size && 0.2 < quality) {
      quality -= 0.2;
      blob = await encoded(canvas, quality);
    }
    return {
      format: "jpg", base64: await content(blob, limits), width: canvas.width, height: canvas.height,
    };
  });
}

async function clip(params, limits) {
  const durationMs = range("durationMs", params.durationMs, 3_000, 200, 60_000);
  if (params.includeAudio) throw new Fault("RECORD_AUDIO_PERMISSION_REQUIRED", "this node records no sound");
  return withCamera(params, "a clip is recorded", async (stream) => {
    const mimeType = ["video/mp4", "video/webm"].find((it) => MediaRecorder.isTypeSupported(it));
    const recorder = new MediaRecorder(stream, mimeType ? { mimeType } : {});
    const pieces = [];
    recorder.ondataavailable = (event) => pieces.push(event.data);
    const stopped = new Promise((done) => { recorder.onstop = done; });
    recorder.start();
    await wait(durationMs);
    recorder.stop();
    await stopped;
    const blob = new Blob(pieces, { type: recorder.mimeType });
    const format = recorder.mimeType.includes("mp4") ? "mp4" : "webm";
    return { format, base64: await content(blob, limits), durationMs, hasAudio: false };
  });
}

async function content(blob, limits) {
  if (limits.bytes < blob.size) {
    throw new Fault("PAYLOAD_TOO_LARGE", `${blob.size} bytes, and one answer carries ${limits.bytes}: ask for less`);
  }
  return base64(new Uint8Array(await blob.arrayBuffer()));
}

function location(params) {
  const timeout = range("timeoutMs", params.timeoutMs, 10_000, 100, 60_000);
  const maximumAge = range("maxAgeMs", params.maxAgeMs, 15_000, 0, 86_400_000);
  const precise = params.desiredAccuracy === "precise";
  return new Promise((done, fail) => {
    navigator.geolocation.getCurrentPosition(
      ({ coords, timestamp }) => done({
        lat: coords.latitude, lon: coords.longitude, accuracyMeters: coords.accuracy,
        altitudeMeters: coords.altitude ?? undefined, speedMps: coords.speed ?? undefined,
        headingDeg: Number.isFinite(coords.heading) ? coords.heading : undefined,
        timestamp: new Date(timestamp).toISOString(), isPrecise: coords.accuracy <= 100, source: "unknown",
      }),
      (error) => fail({
        1: new Fault("LOCATION_PERMISSION_REQUIRED", "this browser does not allow the location"),
        2: new Fault("LOCATION_UNAVAILABLE", "the location is not known"),
        3: new Fault("LOCATION_TIMEOUT", "the location was not found in time"),
      }[error.code]),
      { enableHighAccuracy: precise, timeout, maximumAge },
    );
  });
}

function notify(params) {
  const title = params.title ?? "";
  const body = params.body ?? "";
  if (typeof title !== "string" || !title || 100 < title.length || typeof body !== "string" || 1_000 < body.length) {
    throw new Fault("INVALID_PARAMS", "`title` has 1 to 100 characters, `body` at most 1000");
  }
  const note = document.createElement("article");
  const head = document.createElement("strong");
  head.textContent = title;
  note.append(head, `\n${body}`);
  $("notes").prepend(note);
  while (NOTES_MAX < $("notes").childElementCount) $("notes").lastElementChild.remove();
  return { delivered: true };
}

async function status() {
  const battery = await navigator.getBattery?.().catch(() => undefined);
  const connection = navigator.connection;
  const storage = await navigator.storage?.estimate?.().catch(() => undefined);
  return {
    battery: battery ? { level: Math.round(battery.level * 100), charging: battery.charging } : null,
    network: { online: navigator.onLine, type: connection?.effectiveType ?? null },
    storage: storage ? { quotaBytes: storage.quota, usedBytes: storage.usage } : null,
    foreground: document.visibilityState === "visible",
  };
}

// --- what the agent shows: a page of the gateway's own, in a frame that shares nothing with this one ---

/** Which board and page an address means; only pages of the canvas are shown here. */
function canvasPlace(url) {
  const local = String(url).replace(/^\/__[a-z]+__\//, "/").replace(/^\//, "");
  if (/^a2ui(\/|$)/.test(local)) return { board: "a2ui", path: "" };
  const path = local.replace(/^canvas(\/|$)/, "");
  const usual = path === "" || path.split("/").every((it) => /^[\w@+-][\w.@+-]*$/.test(it));
  if (300 < path.length || !usual) throw new Fault("URL_BLOCKED", "only pages of the canvas are shown here");
  return { board: "canvas", path };
}

async function turnTo(url) {
  const { board, path } = canvasPlace(url);
  const { canvasCapability } = await current.link.ask("node.canvas.capability.refresh", {});
  $("canvas").src = new URL(`${board}/${canvasCapability}/${path}`, window.location.href).href;
  $("canvas").hidden = false;
  return `/${board}/${path}`;
}

async function present(params) {
  await turnTo(params.url ?? "");
  return {};
}

function hideCanvas() {
  $("canvas").hidden = true;
  $("canvas").removeAttribute("src");
  return {};
}

async function navigate(params) {
  if (typeof params.url !== "string") throw new Fault("INVALID_PARAMS", "`url` is missing");
  return { url: await turnTo(params.url) };
}

const FAMILIES = {
  camera: {
    there: () => Boolean(navigator.mediaDevices?.getUserMedia),
    commands: {
      "camera.list": async () => ({
        devices: (await cameras()).map((it, at) => ({
          id: it.deviceId, name: it.label || `camera ${at + 1}`, position: "unspecified", deviceType: "browser",
        })),
      }),
      "camera.snap": snap,
      "camera.clip": clip,
    },
  },
  location: { there: () => "geolocation" in navigator, commands: { "location.get": location } },
  notify: { there: () => true, commands: { "system.notify": notify } },
  canvas: {
    there: () => true,
    commands: { "canvas.present": present, "canvas.hide": hideCanvas, "canvas.navigate": navigate },
  },
  device: {
    there: () => true,
    commands: {
      "device.info": () => ({
        name: $("name").value, platform: platform(), userAgent: navigator.userAgent.slice(0, 300),
        languages: [...navigator.languages], cpuCount: navigator.hardwareConcurrency ?? null,
        screen: { width: screen.width, height: screen.height, scale: devicePixelRatio },
      }),
      "device.status": status,
    },
  },
};

function offered() {
  const families = Object.entries(FAMILIES).filter(([name, it]) => $(`offer-${name}`).checked && it.there());
  return { caps: families.map(([name]) => name), commands: Object.assign({}, ...families.map(([, it]) => it.commands)) };
}

// --- what the person sees ---

function show(element, words) {
  element.textContent = words;
  element.hidden = false;
}

function hide(element) {
  element.hidden = true;
}

function phase(name, words) {
  $("state").dataset.phase = name;
  $("state").textContent = words;
}

function note(command, outcome) {
  const line = document.createElement("li");
  line.textContent = `${new Date().toLocaleTimeString()} ${command}: ${outcome}`;
  $("log").prepend(line);
  while (LOG_MAX < $("log").childElementCount) $("log").lastElementChild.remove();
}

// --- carrying out what is asked: once per key ---

const answers = new Map();

function remember(key, answer) {
  answers.set(key, answer);
  answer.then((it) => {
    let chars = 0;
    for (const [name, other] of [...answers].reverse()) {
      chars += other === answer ? JSON.stringify(it).length : (other.chars ?? 0);
      if (ANSWERS_CHARS_MAX < chars && other !== answer) answers.delete(name);
    }
    answer.chars = JSON.stringify(it).length;
  });
  while (ANSWERS_MAX < answers.size) answers.delete(answers.keys().next().value);
}

async function carryOut(command, request, limits) {
  const work = offered().commands[command];
  if (!work) return { ok: false, error: { code: "UNSUPPORTED", message: `this node does not offer \`${command}\`` } };
  const timeout = Math.min(request.timeoutMs ?? 30_000, 120_000);
  try {
    const params = JSON.parse(request.paramsJSON ?? "{}") ?? {};
    const late = wait(timeout).then(() => { throw new Fault("NODE_TIMEOUT", "it did not end in time"); });
    const payload = await Promise.race([Promise.resolve(work(params, limits)), late]);
    return { ok: true, payloadJSON: JSON.stringify(payload) };
  } catch (error) {
    return { ok: false, error: { code: error.code ?? "UNAVAILABLE", message: String(error.message ?? error) } };
  }
}

function answer(request, limits) {
  const key = request.idempotencyKey ?? request.id;
  if (!answers.has(key)) {
    const outcome = carryOut(request.command, request, limits);
    outcome.then((it) => note(request.command, it.ok ? "ok" : it.error.code));
    remember(key, outcome);
  }
  return answers.get(key);
}

// --- one connection ---

class Link {
  constructor(me, run) {
    this.me = me;
    this.run = run;
    this.next = 1;
    this.limits = { bytes: 512 << 10 };
    this.asked = new Map();
    run.link = this;
  }

  /** Asks the gateway; fails when it refuses or the connection ends. */
  ask(method, params) {
    return new Promise((done, fail) => {
      if (this.socket.readyState !== WebSocket.OPEN) fail(new Fault("UNAVAILABLE", "not connected"));
      else this.asked.set(this.say(method, params), { done, fail });
    });
  }

  /** Serves until the connection ends; says how to go on. */
  serve(credential) {
    return new Promise((ended) => {
      const url = new URL(window.location.href);
      url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
      url.pathname = url.pathname.replace(/node\.html$/, "");
      url.search = "";
      url.hash = "";
      const socket = new WebSocket(url);
      this.socket = socket;
      this.run.socket = socket;
      this.after = { pause: null };
      socket.onmessage = (event) => this.hear(JSON.parse(event.data), credential).catch((error) => {
        this.after = { stop: true, words: error.message };
        socket.close();
      });
      socket.onclose = () => {
        clearTimeout(this.silence);
        for (const { fail } of this.asked.values()) fail(new Fault("UNAVAILABLE", "the connection ended"));
        ended(this.after);
      };
    });
  }

  say(method, params) {
    const id = `n${this.next++}`;
    if (this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ type: "req", id, method, params }));
    }
    return id;
  }

  async hear(frame, credential) {
    if (this.tick) {
      clearTimeout(this.silence);
      this.silence = setTimeout(() => this.socket.close(4000, "tick timeout"), this.tick * 2 + 5_000);
    }
    if (frame.type === "event" && frame.event === "connect.challenge") {
      this.hello = this.say("connect", await this.introduce(frame.payload, credential));
    } else if (frame.type === "res" && frame.id === this.hello) {
      await (frame.ok ? this.welcome(frame.payload) : this.refused(frame.error, credential));
    } else if (frame.type === "res" && this.asked.has(frame.id)) {
      const { done, fail } = this.asked.get(frame.id);
      this.asked.delete(frame.id);
      if (frame.ok) done(frame.payload);
      else fail(new Fault("UNAVAILABLE", frame.error?.message ?? "refused"));
    } else if (frame.type === "event" && frame.event === "node.invoke.request" && frame.payload.nodeId === this.me.id) {
      const request = frame.payload;
      const outcome = await answer(request, this.limits);
      this.say("node.invoke.result", { id: request.id, nodeId: this.me.id, ...outcome });
    }
  }

  async introduce({ nonce, ts }, credential) {
    const { caps, commands } = offered();
    const family = "Browser";
    const signedAt = Number.isInteger(ts) && 0 <= ts ? ts : Date.now();
    const token = credential.token ?? credential.deviceToken ?? credential.bootstrapToken ?? "";
    const line = ["v3", this.me.id, "node-host", "node", "node", "", signedAt, token, nonce, platform(), family.toLowerCase()];
    const signature = await crypto.subtle.sign("Ed25519", this.me.pair.privateKey, text.encode(line.join("|")));
    return {
      minProtocol: PROTOCOL.min, maxProtocol: PROTOCOL.max, role: "node", scopes: [], caps,
      commands: Object.keys(commands),
      permissions: { "invoke.keyed": true },
      client: {
        id: "node-host", mode: "node", version: "page-1", platform: platform(), deviceFamily: family,
        displayName: $("name").value.trim() || "Browser", instanceId: this.me.id,
      },
      ...(token ? { auth: credential } : {}),
      device: {
        id: this.me.id, publicKey: this.me.publicKey, signature: base64url(new Uint8Array(signature)), signedAt, nonce,
      },
    };
  }

  async welcome(payload) {
    if (payload.auth?.deviceToken) await put("deviceToken", payload.auth.deviceToken);
    await forget("first");
    $("token").value = "";
    this.run.pause = PAUSE_MIN;
    this.tick = payload.policy?.tickIntervalMs;
    const room = (payload.policy?.maxPayload ?? 1 << 20) - (16 << 10);
    this.limits.bytes = Math.floor(Math.min(room, 5 << 20) * 3 / 4);
    phase("connected", `Connected. This device is ${this.me.id.slice(0, 12)}.`);
  }

  async refused(error, credential) {
    const code = error.details?.code ?? error.code;
    if (code === "PAIRING_REQUIRED") {
      const id = error.details?.requestId ?? "<request>";
      const shown = error.details?.pairingCode ?? "";
      phase("pairing", `Approve this device at the gateway: adjutant devices approve ${id}${shown ? ` (code ${shown})` : ""}`);
      this.after = { pause: PAIRING_PAUSE };
    } else if (credential.deviceToken && String(code).startsWith("AUTH_")) {
      await forget("deviceToken");
      this.after = { pause: PAUSE_MIN };
    } else if (error.retryAfterMs || error.code === "UNAVAILABLE") {
      phase("connecting", error.message);
      this.after = { pause: Math.max(PAUSE_MIN, error.retryAfterMs ?? PAUSE_MIN) };
    } else {
      this.after = { stop: true, words: `The gateway refuses this device: ${error.message}` };
    }
  }
}

// --- the life of the page ---

let current = null;

async function credential() {
  const deviceToken = await get("deviceToken");
  if (deviceToken) return { deviceToken };
  const first = $("token").value.trim() || (await get("first")) || "";
  if (!first) return {};
  await put("first", first);
  const code = setupCode(first);
  return code ? { bootstrapToken: code } : { token: first };
}

/** The secret in a setup code; null when it is something else. */
function setupCode(text) {
  try {
    const code = JSON.parse(atob(text.replaceAll("-", "+").replaceAll("_", "/")));
    return typeof code.bootstrapToken === "string" ? code.bootstrapToken : null;
  } catch {
    return null;
  }
}

async function start() {
  const run = { stopped: false, pause: PAUSE_MIN };
  current = run;
  $("connect").hidden = true;
  $("stop").hidden = false;
  try {
    await put("name", $("name").value);
    await put("offers", Object.keys(FAMILIES).filter((name) => $(`offer-${name}`).checked));
    const me = await identity();
    while (!run.stopped) {
      if ($("state").dataset.phase !== "pairing") phase("connecting", "Connecting…");
      const after = await new Link(me, run).serve(await credential());
      if (run.stopped) break;
      if (after.stop) {
        phase("refused", after.words);
        break;
      }
      await wait((after.pause ?? run.pause) * (1 + Math.random() / 4));
      if (after.pause === null) run.pause = Math.min(run.pause * 2, PAUSE_MAX);
    }
    if (run.stopped) phase("stopped", "Not connected.");
  } catch (error) {
    phase("refused", `This browser cannot be a node: ${error.message}`);
  }
  $("connect").hidden = false;
  $("stop").hidden = true;
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
$("stop").addEventListener("click", () => {
  if (current) current.stopped = true;
  current?.socket?.close(1000, "stopped");
});

async function prepare() {
  $("name").value = (await get("name")) ?? "";
  const offers = await get("offers");
  for (const name of Object.keys(FAMILIES)) {
    if (offers) $(`offer-${name}`).checked = offers.includes(name);
    if (!FAMILIES[name].there()) {
      $(`offer-${name}`).checked = false;
      $(`offer-${name}`).disabled = true;
    }
  }
  // A setup code in the fragment never reaches the gateway's log, and does not stay in the address.
  const code = new URLSearchParams(window.location.hash.slice(1)).get("code");
  if (code) {
    history.replaceState(null, "", window.location.pathname);
    $("token").value = code;
  }
  $("connect").disabled = false;
  if (await get("deviceToken")) start();
}

prepare().catch((error) => phase("refused", `This browser cannot be a node: ${error.message}`));
