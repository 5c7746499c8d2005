// One camera or one screen: the picture, whose it is, and how well it comes through.

import { draw as drawDetails } from "/page/room/details.js";
import { Track, VideoQuality } from "/page/room/livekit.js";
import { hue, initials } from "/page/room/names.js";
import { Meter, bitrate, number, percent, size } from "/page/stats.js";

const LAYERS = { low: VideoQuality.LOW, medium: VideoQuality.MEDIUM, high: VideoQuality.HIGH };
const QUALITIES = { excellent: "connection excellent", good: "connection good", poor: "connection poor", lost: "connection lost" };
/** Milliseconds for which a size must last before the server is told: windows are resized by dragging. */
const RESIZE_PATIENCE = 200;

export class Tile {
  #parts = {};
  #meters = new WeakMap();
  #shown = null;
  #heard = null;
  #resize = null;
  #isOver = false;

  constructor(participant, source) {
    this.participant = participant;
    this.source = source;
    const fragment = document.getElementById("tile").content.cloneNode(true);
    this.element = fragment.firstElementChild;
    for (const part of ["details", "face", "figures", "layer", "name", "panel", "quality", "tag", "toggle-details", "toggle-figures", "veil"]) {
      this.#parts[part] = this.element.querySelector(`.${part}`);
    }
    this.#parts.video = this.element.querySelector("video");
    this.#parts.rows = this.#parts.figures.querySelector("tbody");
    this.element.dataset.source = source;
    this.element.dataset.identity = participant.identity;
    this.element.classList.toggle("own", participant.isLocal);
    // One does not want to hear oneself; what others say comes from elements of its own.
    this.#parts.video.muted = true;
    this.#parts.layer.addEventListener("change", () => this.#choose());
    this.#parts["toggle-details"].hidden = participant.isLocal;
    for (const part of ["details", "figures"]) {
      this.#parts[`toggle-${part}`].addEventListener("click", () => this.#toggle(part));
    }
    this.resizing = new ResizeObserver(() => this.#resized());
    this.resizing.observe(this.element);
    this.seeing = new IntersectionObserver(([{ isIntersecting }]) => this.#publication?.setEnabled?.(isIntersecting));
  }

  /** Shows what has become of the participant. */
  draw() {
    const { face, name, quality, veil, layer } = this.#parts;
    const { participant } = this;
    const isScreen = this.source === Track.Source.ScreenShare;
    const called = participant.name || participant.identity;
    const whose = participant.isLocal ? `${called} (you)` : called;
    name.textContent = isScreen ? `${whose} · screen` : whose;
    face.textContent = initials(called);
    face.style.setProperty("--hue", hue(participant.identity));
    this.element.setAttribute("aria-label", name.textContent);
    this.element.toggleAttribute("data-muted", !isScreen && !participant.isMicrophoneEnabled);
    this.element.toggleAttribute("data-speaking", !isScreen && participant.isSpeaking);
    quality.dataset.quality = participant.connectionQuality;
    quality.title = QUALITIES[participant.connectionQuality] ?? "";
    quality.setAttribute("aria-label", quality.title || "connection not measured yet");
    quality.hidden = isScreen || !quality.title;

    const publication = this.#publication;
    const track = publication && !publication.isMuted ? (publication.track ?? null) : null;
    this.#show(track);
    this.#hear(participant.isLocal ? null : (this.#sound?.track ?? null));
    const isPaused = track?.streamState === Track.StreamState.Paused;
    veil.hidden = !isPaused;
    veil.textContent = isPaused ? "Paused: the connection is too slow" : "";
    layer.hidden = participant.isLocal || !track || !publication.simulcasted;
  }

  /** Reads the figures, if they are shown. */
  async measure() {
    if (this.#parts.figures.hidden) return;
    const tracks = [this.#publication?.track, this.#sound?.track].filter(Boolean);
    const rows = await Promise.all(tracks.map((track) => this.#read(track)));
    if (this.#isOver) return;
    this.#parts.rows.replaceChildren(...rows.flat().map(row));
  }

  /** Whether the server is to be asked why it looks as it does. */
  get wantsDetails() {
    return !this.#parts.details.hidden;
  }

  /** Shows what the server said of us; null where it said nothing. */
  explain(told) {
    const sids = [this.#publication, this.#sound].map((publication) => publication?.trackSid);
    if (this.wantsDetails) drawDetails(this.#parts.details, told, sids);
  }

  remove() {
    this.#isOver = true;
    this.resizing.disconnect();
    this.seeing.disconnect();
    clearTimeout(this.#resize);
    this.#show(null);
    this.#hear(null);
    this.element.remove();
  }

  get #publication() {
    return this.participant.getTrackPublication(this.source);
  }

  get #sound() {
    const isScreen = this.source === Track.Source.ScreenShare;
    return this.participant.getTrackPublication(isScreen ? Track.Source.ScreenShareAudio : Track.Source.Microphone);
  }

  #show(track) {
    const { video } = this.#parts;
    this.element.toggleAttribute("data-video", Boolean(track));
    if (track === this.#shown) return;
    this.#shown?.detach(video);
    this.#shown = track;
    if (!track) return;
    track.attach(video);
    if (this.participant.isLocal) return;
    this.seeing.disconnect();
    this.seeing.observe(video);
    this.#choose();
  }

  #hear(track) {
    if (track === this.#heard) return;
    for (const element of this.#heard?.detach() ?? []) element.remove();
    this.#heard = track;
    if (track) this.element.append(track.attach());
  }

  /** Tells the server which layer is wanted. */
  #choose() {
    const publication = this.#publication;
    const wish = this.#parts.layer.value;
    if (this.participant.isLocal || !publication?.track) return;
    if (wish in LAYERS) return publication.setVideoQuality(LAYERS[wish]);
    const [width, height] = [this.element.clientWidth, this.element.clientHeight].map((pixels) => Math.round(pixels * devicePixelRatio));
    if (width > 0) publication.setVideoDimensions({ width, height });
  }

  #resized() {
    clearTimeout(this.#resize);
    this.#resize = setTimeout(() => this.#choose(), RESIZE_PATIENCE);
  }

  /** One at a time: a small tile has no room for both. */
  #toggle(part) {
    const isShown = this.#parts[part].hidden;
    for (const one of ["details", "figures"]) {
      this.#parts[one].hidden = one !== part || !isShown;
      this.#parts[`toggle-${one}`].setAttribute("aria-pressed", String(one === part && isShown));
    }
    this.#parts.panel.hidden = !isShown;
    this.measure();
    if (this.wantsDetails) this.element.dispatchEvent(new Event("details"));
  }

  async #read(track) {
    const source = track.receiver ?? track.sender;
    // A track that is not on its way yet.
    if (!source) return [];
    if (!this.#meters.has(source)) this.#meters.set(source, new Meter(source));
    const { rows } = await this.#meters.get(source).read();
    return rows.filter(({ kind, width, bitrate: rate }) => kind === "audio" || width || rate);
  }
}

function row({ kind, rid, codec, bitrate: rate, width, height, fps, loss, jitter }) {
  const isVideo = kind === "video";
  const cells = {
    track: rid ? `${kind} ${rid}` : kind,
    size: isVideo ? size({ width, height }) : "",
    fps: isVideo ? number(fps) : "",
    rate: bitrate(rate),
    codec: codec ?? "–",
    loss: percent(loss),
    jitter: number(jitter, " ms"),
  };
  const line = document.createElement("tr");
  for (const [name, text] of Object.entries(cells)) {
    const cell = line.insertCell();
    cell.dataset.figure = name;
    cell.textContent = text;
  }
  return line;
}
