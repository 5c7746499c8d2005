// One person on the stage: the picture, the quality buttons, a row of numbers per track.

import { Meter, bitrate, number, percent, size } from "/page/stats.js";

const LAYERS = ["low", "medium", "high"];
const STATES = { new: "connecting …", connecting: "connecting …", disconnected: "connection lost, waiting …", failed: "connection lost", ended: "has left" };

/** The element of one person and what it is fed with. */
export class Tile {
  #parts = {};
  #state = "new";

  constructor({ name, isOwn = false, onlayer = null }) {
    const fragment = document.getElementById("tile").content.cloneNode(true);
    this.element = fragment.firstElementChild;
    for (const part of ["video", ".veil", ".unmute", ".dot", ".name", ".facts", ".layers", ".tracks tbody"]) {
      this.#parts[part.replace(".", "").split(" ")[0]] = this.element.querySelector(part);
    }
    this.name = name;
    this.session = null;
    this.#parts.name.textContent = name;
    this.element.classList.toggle("own", isOwn);
    this.#parts.video.muted = isOwn;
    this.#parts.video.addEventListener("resize", () => this.#draw());
    this.#parts.unmute.addEventListener("click", () => this.#play());
    this.#parts.layers.addEventListener("click", ({ target }) => {
      if (target.matches("button")) this.#choose(target, onlayer);
    });
    this.#draw();
  }

  /** Shows `stream` of `session` from now on. */
  show(session, stream) {
    this.session = session;
    this.meter = new Meter(session.pc);
    this.#parts.video.srcObject = stream;
    this.#play();
  }

  /** Offers the quality buttons, or takes them away where there is one layer only. */
  offerLayers(count) {
    this.#parts.layers.hidden = count < 2;
    this.#parts.layers.querySelector('[value="1"]').hidden = count < 3;
    for (const button of this.#parts.layers.children) {
      if (button.value === "2") button.value = String(count - 1);
    }
  }

  /** A connection state, or words instead of it. */
  set state(state) {
    this.#state = state;
    this.#draw();
  }

  /** Reads the numbers and shows them; `tracks` is what the server says of the played copies. Returns the path. */
  async measure(tracks = []) {
    if (!this.meter) return {};
    const { rows, path } = await this.meter.read();
    const layers = new Map(tracks.map(({ kind, stats }) => [kind, stats?.layer]));
    this.#parts.tracks.replaceChildren(...rows.map((row) => this.#row(row, layers.get(row.kind))));
    const best = rows.find(({ kind, width }) => kind === "video" && width);
    this.#parts.facts.textContent = best ? `${best.height}p · ${number(best.fps)} fps` : "";
    this.#draw();
    return path;
  }

  remove() {
    this.#parts.video.srcObject = null;
    this.element.remove();
  }

  #row(row, layer) {
    const title = row.kind === "audio" ? "audio" : row.rid ? `video ${row.rid}` : "video";
    const isVideo = row.kind === "video";
    const cells = [
      title,
      bitrate(row.bitrate),
      isVideo ? size(row) : "",
      isVideo ? number(row.fps) : "",
      percent(row.loss),
      number(row.jitter, " ms"),
      isVideo ? row.mode ?? nameOf(layer) : "",
    ];
    const line = document.createElement("tr");
    line.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
    return line;
  }

  async #choose(button, onlayer) {
    const { layers } = this.#parts;
    const spatial = button.value === "auto" ? null : Number(button.value);
    if (await onlayer(spatial)) {
      for (const other of layers.children) other.setAttribute("aria-pressed", String(other === button));
    }
  }

  #play() {
    const { video, unmute } = this.#parts;
    video.play().then(() => (unmute.hidden = true), ({ name }) => (unmute.hidden = name !== "NotAllowedError"));
  }

  #draw() {
    const { video, veil, dot } = this.#parts;
    const isUp = this.#state === "connected";
    const hasPicture = video.videoWidth > 0;
    veil.textContent = isUp ? (hasPicture ? "" : "waiting for the picture …") : (STATES[this.#state] ?? this.#state);
    veil.hidden = isUp && hasPicture;
    dot.dataset.state = isUp ? "good" : ["new", "connecting", "disconnected"].includes(this.#state) ? "wait" : "bad";
    dot.title = this.#state;
  }
}

function nameOf(layer) {
  return layer ? LAYERS[Math.min(layer.spatial, LAYERS.length - 1)] : "–";
}
