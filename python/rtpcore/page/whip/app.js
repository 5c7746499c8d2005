// The page: join a room, see and hear who is in it, read the numbers. Asks nobody but the server it came from.

import { CODECS, Refused, Session, isSupported } from "/page/whip/session.js";
import { cipher, number } from "/page/stats.js";
import { Tile } from "/page/whip/tile.js";

const POLL_MS = 1000;
const RETRY_MS = 5000;
/** More than this many pictures no machine decodes and nobody looks at. */
const MAX_PLAYED = 24;
const MAX_MESSAGES = 200;

const CAMERA_PROBLEMS = {
  NotAllowedError: "You, or this browser, refused the camera and microphone. Allow them for this address and try again.",
  NotFoundError: "There is no camera or no microphone on this device.",
  NotReadableError: "The camera or microphone is in use by another program.",
  OverconstrainedError: "The camera cannot do what is asked of it.",
};

const $ = (id) => document.getElementById(id);

/** Where we are; null in the lobby. */
let visit = null;

/** One stay in a room: our own session, if we publish, and one per publisher that we play. */
class Visit {
  constructor(room, stream, codec) {
    this.room = room;
    this.stream = stream;
    this.codec = codec;
    this.isOver = false;
    this.own = null;
    this.ownName = null;
    /** By the publisher's name: {tile, session, retryAt}. */
    this.played = new Map();
  }

  async publish() {
    const tile = new Tile({ name: "You", isOwn: true });
    this.own = { tile, session: null };
    $("tiles").prepend(tile.element);
    const session = await Session.publish(this.room, this.stream, this.codec, {
      onstate: (state) => {
        tile.state = state;
        if (state === "failed" || state === "ended") this.#lost(state);
      },
      onmessage: (text) => addMessage("a viewer", text),
    });
    if (this.isOver) return session.leave();
    this.own.session = session;
    tile.show(session, this.stream);
    session.channel.onopen = drawChat;
    // The publisher's public name: what others call us, and how we know not to play ourselves.
    const { name } = await session.facts();
    this.ownName = name;
  }

  /** Plays who came, lets go who left. */
  follow(publishers) {
    const wanted = publishers.filter(({ name, state }) => name !== this.ownName && state === "connected").slice(0, MAX_PLAYED);
    const names = new Set(publishers.map(({ name }) => name));
    for (const name of this.played.keys()) if (!names.has(name)) this.#drop(name);
    for (const publisher of wanted) {
      const entry = this.played.get(publisher.name);
      if (!entry || (!entry.session && entry.retryAt <= Date.now())) this.#play(publisher);
    }
  }

  /** Reads the numbers of all sessions; gives a row for each connection. */
  async measure() {
    const all = [this.own, ...this.played.values()].filter((entry) => entry?.session);
    return Promise.all(
      all.map(async ({ tile, session }) => {
        const facts = session === this.own?.session ? {} : await session.facts().catch(() => ({}));
        const path = await tile.measure(facts.tracks);
        return { name: tile.name, state: session.pc.connectionState, ...path };
      }),
    );
  }

  say(text) {
    // What a publisher says reaches everybody who plays it; who only watches can but talk to each publisher.
    const sessions = this.own ? [this.own.session] : [...this.played.values()].map(({ session }) => session);
    return sessions.filter((session) => session?.say(text)).length > 0;
  }

  get canTalk() {
    const sessions = this.own ? [this.own.session] : [...this.played.values()].map(({ session }) => session);
    return sessions.some((session) => session?.channel.readyState === "open");
  }

  leave() {
    this.isOver = true;
    this.own?.session?.leave();
    this.own?.tile.remove();
    for (const name of [...this.played.keys()]) this.#drop(name);
    for (const track of this.stream?.getTracks() ?? []) track.stop();
  }

  async #play(publisher) {
    const { name, tracks } = publisher;
    const entry = this.played.get(name) ?? { tile: null, session: null };
    entry.retryAt = Infinity;
    if (!entry.tile) {
      entry.tile = new Tile({ name, onlayer: (spatial) => this.#choose(entry, spatial) });
      $("tiles").append(entry.tile.element);
      this.played.set(name, entry);
    }
    entry.tile.state = "connecting";
    entry.tile.offerLayers(layersOf(tracks));
    try {
      const session = await Session.play(this.room, name, tracks.map(({ kind }) => kind), {
        onstate: (state) => {
          entry.tile.state = state;
          if (state === "failed" || state === "ended") this.#retry(entry);
        },
        onmessage: (text) => addMessage(name, text),
      });
      if (this.isOver || this.played.get(name) !== entry) return session.leave();
      entry.session = session;
      session.channel.onopen = drawChat;
      entry.tile.show(session, session.stream);
    } catch (error) {
      entry.tile.state = error instanceof Refused && error.status === 404 ? "has left" : inWords(error);
      this.#retry(entry);
    }
  }

  async #choose(entry, spatial) {
    try {
      await entry.session.choose(spatial);
      return true;
    } catch (error) {
      notify(`The quality could not be changed: ${inWords(error)}`);
      return false;
    }
  }

  #retry(entry) {
    entry.session?.leave();
    entry.session = null;
    entry.retryAt = Date.now() + RETRY_MS;
  }

  #drop(name) {
    const { tile, session } = this.played.get(name);
    session?.leave();
    tile.remove();
    this.played.delete(name);
  }

  #lost(state) {
    leave();
    notify(state === "ended" ? "The server has ended the connection." : "The connection to the server was lost. Join again.");
  }
}

/** How many layers a video has to choose from. */
function layersOf(tracks) {
  const video = tracks.find(({ kind }) => kind === "video");
  if (!video) return 0;
  if (video.rids.length > 1) return video.rids.length;
  return video.codecs.some((codec) => /VP9|AV1/i.test(codec)) ? 3 : 1;
}

async function join(isPublishing) {
  const room = $("room").value.trim();
  if (!$("join").reportValidity()) return;
  setBusy(true);
  hideNotice();
  location.hash = encodeURIComponent(room);
  let stream = null;
  try {
    if (isPublishing) stream = await openCamera();
    visit = new Visit(room, stream, CODECS[$("codec").value]);
    showStage();
    if (isPublishing) await visit.publish();
  } catch (error) {
    for (const track of stream?.getTracks() ?? []) track.stop();
    leave();
    notify(inWords(error));
  } finally {
    setBusy(false);
  }
}

function leave() {
  visit?.leave();
  visit = null;
  $("stage").hidden = true;
  $("lobby").hidden = false;
  $("where").hidden = true;
  $("messages").replaceChildren();
  $("connections").tBodies[0].replaceChildren();
}

async function openCamera() {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers lend camera and microphone only to pages from https or from localhost. Open this page that way, or only watch.");
  }
  const video = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
  return navigator.mediaDevices.getUserMedia({ audio: true, video });
}

function inWords(error) {
  if (error.name in CAMERA_PROBLEMS) return CAMERA_PROBLEMS[error.name];
  if (error instanceof Refused) {
    return error.status === 404 ? "This is not on the server any more (404)." : `The server refused (${error.status}): ${error.message}`;
  }
  // What fetch throws where nobody answers.
  if (error instanceof TypeError || error.name === "TimeoutError") return "The server does not answer. Is it still running?";
  return error.message;
}

/** Asks once a second who is here and shows all numbers. */
async function poll() {
  const room = visit?.room ?? $("room").value.trim();
  try {
    if (room) {
      const answer = await fetch(`/api/rooms/${encodeURIComponent(room)}`, { signal: AbortSignal.timeout(4000) });
      if (!answer.ok) throw new Refused(answer.status, await answer.text());
      const { publishers, players, drops } = await answer.json();
      drawServer(true);
      drawRoom(publishers, players);
      drawDrops(drops);
      if (visit && (!visit.own || visit.ownName)) visit.follow(publishers);
    }
  } catch {
    drawServer(false);
  }
  if (visit) {
    drawConnections(await visit.measure().catch(() => []));
    drawChat();
  }
  setTimeout(poll, POLL_MS);
}

function drawServer(isThere) {
  const dot = $("server");
  if (!isThere && dot.dataset.state === "good") notify("The server does not answer. Trying again …", "server");
  if (isThere && $("notice").dataset.about === "server") hideNotice();
  dot.dataset.state = isThere ? "good" : "bad";
  dot.title = isThere ? "The server answers" : "The server does not answer";
}

function drawRoom(publishers, players) {
  const count = publishers.length;
  const words = `${count} publishing · ${players.length} playing`;
  $("people").textContent = visit ? words : "";
  $("waiting").textContent = count ? `Now in this room: ${words}.` : "Whoever opens the same room sees and hears you.";
  $("alone").hidden = publishers.some(({ name }) => name !== visit?.ownName);
}

function drawDrops(drops) {
  const reasons = Object.entries(drops).sort(([, one], [, other]) => other - one);
  $("no-drops").hidden = reasons.length > 0;
  $("drops").tBodies[0].replaceChildren(...reasons.map(([reason, count]) => row([reason.replaceAll("_", " "), count.toLocaleString("en")])));
}

function drawConnections(connections) {
  const lines = connections.map(({ name, state, cipher: profile, protocol, roundTrip }) => {
    const route = [protocol?.toUpperCase(), roundTrip === undefined ? null : number(roundTrip, " ms")].filter(Boolean).join(" ");
    const line = row([name, state, cipher(profile), route || "–"]);
    line.cells[1].dataset.state = state === "connected" ? "good" : state === "failed" ? "bad" : "wait";
    line.cells[2].title = profile ?? "";
    return line;
  });
  $("connections").tBodies[0].replaceChildren(...lines);
}

function drawChat() {
  const isOpen = Boolean(visit?.canTalk);
  $("text").disabled = !isOpen;
  $("say").querySelector("button").disabled = !isOpen;
  $("text").placeholder = isOpen ? "Write a message" : "Nobody to talk to yet";
}

function row(texts) {
  const line = document.createElement("tr");
  line.append(...texts.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
  return line;
}

function addMessage(name, text) {
  const messages = $("messages");
  const item = document.createElement("li");
  item.classList.toggle("own", name === "You");
  item.append(Object.assign(document.createElement("b"), { textContent: name }), Object.assign(document.createElement("span"), { textContent: text }));
  messages.append(item);
  while (messages.children.length > MAX_MESSAGES) messages.firstElementChild.remove();
  messages.scrollTop = messages.scrollHeight;
}

function notify(text, about = "") {
  $("notice").dataset.about = about;
  $("notice").querySelector("span").textContent = text;
  $("notice").hidden = false;
}

function hideNotice() {
  $("notice").hidden = true;
}

function setBusy(isBusy) {
  for (const control of $("join").elements) control.disabled = isBusy;
  $("publish").textContent = isBusy ? "Joining …" : "Join with camera";
}

function showStage() {
  $("lobby").hidden = true;
  $("stage").hidden = false;
  $("where").hidden = false;
  $("where").textContent = visit.room;
  $("alone").hidden = false;
  for (const kind of ["microphone", "camera"]) {
    $(kind).hidden = !visit.stream;
    $(kind).setAttribute("aria-pressed", "true");
  }
  drawChat();
}

/** Turns our microphone or camera off and on, without a word to the server. */
function toggle(button, kind) {
  const tracks = visit.stream.getTracks().filter((track) => track.kind === kind);
  const isOn = button.getAttribute("aria-pressed") !== "true";
  for (const track of tracks) track.enabled = isOn;
  button.setAttribute("aria-pressed", String(isOn));
}

function roomFromAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1)).trim().slice(0, 64);
  } catch {
    return "";
  }
}

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  join(true);
});
$("watch").addEventListener("click", () => join(false));
$("leave").addEventListener("click", leave);
$("microphone").addEventListener("click", ({ currentTarget }) => toggle(currentTarget, "audio"));
$("camera").addEventListener("click", ({ currentTarget }) => toggle(currentTarget, "video"));
$("copy").addEventListener("click", async ({ currentTarget }) => {
  const isDone = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
  currentTarget.textContent = isDone ? "Copied" : location.href;
});
$("notice").querySelector("button").addEventListener("click", hideNotice);
$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  if (visit?.say(text)) {
    addMessage("You", text);
    $("text").value = "";
  }
});
// Also when the tab is closed or put away: sessions left behind would be seen by the others for half a minute.
addEventListener("pagehide", leave);
addEventListener("hashchange", () => {
  const room = roomFromAddress();
  if (!room || room === (visit?.room ?? $("room").value)) return;
  if (visit) leave();
  $("room").value = room;
});

$("room").value = roomFromAddress() || "lobby";
for (const option of $("codec").options) {
  isSupported(CODECS[option.value]).then((supported) => {
    option.disabled = !supported;
    if (!supported) option.textContent += " (not in this browser)";
    if (!supported && option.selected) $("codec").value = [...$("codec").options].find(({ disabled }) => !disabled)?.value ?? "";
  });
}
poll();
