// The page: from the lobby into a room and back. Asks nobody but the server it came from.

import { watch } from "/page/room/agents.js";
import { Call } from "/page/room/call.js";
import { Chat } from "/page/room/chat.js";
import { Controls } from "/page/room/controls.js";
import { fit } from "/page/room/grid.js";
import { recall, remember } from "/page/room/names.js";
import { notify, settle } from "/page/room/notice.js";
import * as words from "/page/room/words.js";

const $ = (id) => document.getElementById(id);

/** Two windows may have one name; who is who is told by this. */
const IDENTITY = `page-${crypto.getRandomValues(new Uint32Array(2)).join("")}`;

const STATES = {
  connecting: ["wait", "connecting"],
  connected: ["good", "connected"],
  reconnecting: ["wait", "reconnecting"],
  disconnected: ["none", "not connected"],
};

/** Where we are; null in the lobby. */
let call = null;

const chat = new Chat((text) => call.say(text));
const controls = new Controls();

async function join(withDevices) {
  if (!$("join").reportValidity()) return;
  const [name, room] = [$("name").value.trim(), $("room").value.trim()];
  setBusy(true);
  settle();
  remember(name);
  history.replaceState(null, "", addressOf(room));
  const entered = new Call($("tiles"), {
    onstate: drawState,
    onpeople: drawPeople,
    onmessage: (message) => chat.add(message),
    onchange: () => controls.draw(),
    onover: (reason) => leave(words.ofLeaving(reason)),
  });
  try {
    const token = await tokenFor(room, name);
    await entered.join(token);
    call = entered;
    enter(room);
    controls.take(entered.room);
    if (withDevices) await controls.openDevices();
  } catch (error) {
    entered.leave();
    leave(words.ofJoining(error));
  } finally {
    setBusy(false);
  }
}

async function tokenFor(room, name) {
  const answer = await fetch(`/dev/token?${new URLSearchParams({ room, name, identity: IDENTITY })}`);
  if (!answer.ok) throw new Error(`The server refused (${answer.status}): ${await answer.text()}`);
  const { token } = await answer.json();
  return token;
}

function enter(room) {
  $("lobby").hidden = true;
  for (const id of ["call", "where", "people"]) $(id).hidden = false;
  document.body.classList.add("in-call");
  document.title = `${room} · rtpcore`;
  $("where").firstElementChild.textContent = room;
  chat.begin();
}

/** Back to the lobby, where the next click joins again. */
function leave(why = "") {
  call = null;
  controls.take(null);
  $("lobby").hidden = false;
  for (const id of ["call", "where", "people"]) $(id).hidden = true;
  document.body.classList.remove("in-call");
  document.title = "rtpcore";
  drawState("disconnected");
  settle();
  notify(why);
  $("enter").focus();
}

function drawState(state) {
  const [mood, text] = STATES[state];
  $("state").hidden = state === "disconnected";
  $("state").dataset.state = mood;
  $("state").title = text;
  $("state").setAttribute("aria-label", text);
  if (state === "reconnecting") {
    notify("The connection was lost. Trying to get it back …", { about: "connection", mood: "wait" });
  } else {
    settle("connection");
  }
}

function drawPeople(count) {
  $("people").textContent = count === 1 ? "1 person" : `${count} people`;
  $("alone").hidden = count > 1;
}

function setBusy(isBusy) {
  for (const control of $("join").elements) control.disabled = isBusy;
  $("enter").textContent = isBusy ? "Joining …" : "Join";
}

function addressOf(room) {
  return `/?${new URLSearchParams({ room })}`;
}

async function copyAddress({ currentTarget }) {
  const label = currentTarget.querySelector("span") ?? currentTarget;
  const before = label.textContent;
  // Without https there is no clipboard; then the address is at least seen.
  const isDone = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
  if (!isDone) return notify(`Send them this address: ${location.href}`, { mood: "calm" });
  label.textContent = "Copied";
  setTimeout(() => (label.textContent = before), 1500);
}

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  join(true);
});
$("watch").addEventListener("click", () => join(false));
$("leave").addEventListener("click", () => call?.leave());
$("where").addEventListener("click", copyAddress);
$("invite").addEventListener("click", copyAddress);

$("name").value = recall();
$("room").value = new URLSearchParams(location.search).get("room")?.trim().slice(0, 64) || "lobby";
fit($("tiles"));
watch($("agents"));
$("enter").focus();
