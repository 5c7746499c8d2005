// Microphone, camera and screen: whether they are on, and what happens when they cannot be.

import { notify, settle } from "/page/room/notice.js";
import * as words from "/page/room/words.js";

const KINDS = {
  microphone: { device: "audioinput", name: "microphone", isOn: (me) => me.isMicrophoneEnabled, set: (me, on) => me.setMicrophoneEnabled(on) },
  camera: { device: "videoinput", name: "camera", isOn: (me) => me.isCameraEnabled, set: (me, on) => me.setCameraEnabled(on) },
  screen: { device: "screen", name: "screen", isOn: (me) => me.isScreenShareEnabled, set: (me, on) => me.setScreenShareEnabled(on, { audio: true }) },
};

export class Controls {
  #room = null;
  #busy = new Set();
  #blocked = new Set();

  constructor() {
    for (const id of Object.keys(KINDS)) {
      button(id).addEventListener("click", () => this.#toggle(id));
    }
    // Phones cannot share their screens.
    button("screen").hidden = !navigator.mediaDevices?.getDisplayMedia;
  }

  /** Controls this room from now on, or none. */
  take(room) {
    this.#room = room;
    this.#busy.clear();
    this.#blocked.clear();
    this.draw();
  }

  /** Opens microphone and camera; what cannot be had is said, and the rest goes on. */
  async openDevices() {
    const room = this.#room;
    // Asked for together, so that people are asked once; what fails together may work alone.
    this.#mark(["microphone", "camera"], true);
    let failed = [];
    try {
      needSecure();
      await room.localParticipant.enableCameraAndMicrophone();
    } catch (error) {
      failed = ["microphone", "camera"];
      if (error.name === "NotAllowedError" || error.name === "InsecureContext") {
        this.#fail("camera", error);
        this.#blocked.add("microphone");
        failed = [];
      }
    }
    this.#mark(["microphone", "camera"], false);
    for (const id of failed) if (this.#room === room) await this.#turn(id, true);
  }

  draw() {
    const me = this.#room?.localParticipant;
    for (const [id, { name, isOn }] of Object.entries(KINDS)) {
      const on = Boolean(me && isOn(me));
      if (on) this.#blocked.delete(id);
      const state = this.#busy.has(id) ? "busy" : on ? "on" : this.#blocked.has(id) ? "blocked" : "off";
      button(id).dataset.state = state;
      button(id).disabled = state === "busy";
      button(id).setAttribute("aria-pressed", String(on));
      button(id).title = on ? `Turn the ${name} off` : `Turn the ${name} on`;
      if (id === "screen") button(id).title = on ? "Stop sharing the screen" : "Share the screen";
    }
  }

  async #toggle(id) {
    const me = this.#room?.localParticipant;
    if (me) await this.#turn(id, !KINDS[id].isOn(me));
  }

  async #turn(id, on) {
    const room = this.#room;
    this.#mark([id], true);
    try {
      if (on) needSecure();
      await KINDS[id].set(room.localParticipant, on);
      settle(id);
    } catch (error) {
      if (this.#room === room) this.#fail(id, error);
    }
    if (this.#room === room) this.#mark([id], false);
  }

  #fail(id, error) {
    if (id !== "screen") this.#blocked.add(id);
    notify(words.ofDevice(error, KINDS[id].device), { about: id });
  }

  #mark(ids, isBusy) {
    for (const id of ids) {
      if (isBusy) this.#busy.add(id);
      else this.#busy.delete(id);
    }
    this.draw();
  }
}

/** Over plain http browsers do not even ask. */
function needSecure() {
  if (!navigator.mediaDevices) throw Object.assign(new Error(), { name: "InsecureContext" });
}

function button(id) {
  return document.getElementById(id);
}
