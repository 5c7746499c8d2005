// One stay in a room: LiveKit's client, and a tile for each camera and each screen.

import { ask } from "/page/room/details.js";
import { ConnectionState, Room, RoomEvent, Track, VideoPresets } from "/page/room/livekit.js";
import { notify, settle } from "/page/room/notice.js";
import { Tile } from "/page/room/tile.js";

const MEASURE_MS = 1000;
/** What LiveKit's own clients chat on. */
const CHAT_TOPIC = "lk.chat";

/** What may change who is seen and how. */
const CHANGES = [
  RoomEvent.ActiveSpeakersChanged,
  RoomEvent.ConnectionQualityChanged,
  RoomEvent.LocalTrackPublished,
  RoomEvent.LocalTrackUnpublished,
  RoomEvent.ParticipantConnected,
  RoomEvent.ParticipantDisconnected,
  RoomEvent.ParticipantNameChanged,
  RoomEvent.Reconnected,
  RoomEvent.TrackMuted,
  RoomEvent.TrackPublished,
  RoomEvent.TrackStreamStateChanged,
  RoomEvent.TrackSubscribed,
  RoomEvent.TrackUnmuted,
  RoomEvent.TrackUnpublished,
  RoomEvent.TrackUnsubscribed,
];

/** As the bar shows it; what it is to be disconnected is told by the reason. */
const STATES = {
  [ConnectionState.Connecting]: "connecting",
  [ConnectionState.Connected]: "connected",
  [ConnectionState.Reconnecting]: "reconnecting",
  [ConnectionState.SignalReconnecting]: "reconnecting",
};

export class Call {
  /** By identity and source. */
  #tiles = new Map();
  #timer = null;
  #isAsking = false;
  isJoined = false;

  /** @param on {onstate, onpeople, onmessage, onchange, onover}: called with what has become of it. */
  constructor(container, on) {
    this.container = container;
    this.on = on;
    this.room = new Room({
      // Which layer is wanted each tile says itself: what people choose is to hold however small the tile is.
      adaptiveStream: false,
      dynacast: true,
      videoCaptureDefaults: { resolution: VideoPresets.h720.resolution },
    });
    for (const change of CHANGES) this.room.on(change, () => this.#draw());
    this.room.on(RoomEvent.ConnectionStateChanged, (state) => this.#changed(state));
    this.room.on(RoomEvent.AudioPlaybackStatusChanged, () => this.#askForSound());
    this.room.on(RoomEvent.Disconnected, (reason) => this.#over(reason));
    this.room.registerTextStreamHandler(CHAT_TOPIC, async (reader, { identity }) => {
      const from = this.room.getParticipantByIdentity(identity);
      on.onmessage({ name: from?.name || identity, text: await reader.readAll() });
    });
  }

  /** Connects; raises what LiveKit's client raises. */
  async join(token) {
    await this.room.connect(location.origin.replace(/^http/, "ws"), token);
    this.isJoined = true;
    this.#draw();
    this.#timer = setInterval(() => this.#measure(), MEASURE_MS);
    this.#askForSound();
  }

  /** Sends a chat message to everyone. */
  async say(text) {
    await this.room.localParticipant.sendText(text, { topic: CHAT_TOPIC });
  }

  leave() {
    this.room.disconnect();
  }

  #draw() {
    if (!this.isJoined) return;
    const wanted = [this.room.localParticipant, ...this.room.remoteParticipants.values()].flatMap((participant) => [
      ...(participant.getTrackPublication(Track.Source.ScreenShare) ? [[participant, Track.Source.ScreenShare]] : []),
      [participant, Track.Source.Camera],
    ]);
    const keys = new Set(wanted.map(([{ identity }, source]) => `${source} ${identity}`));
    for (const [key, tile] of this.#tiles) {
      if (keys.has(key)) continue;
      tile.remove();
      this.#tiles.delete(key);
    }
    for (const [participant, source] of wanted) {
      const key = `${source} ${participant.identity}`;
      let tile = this.#tiles.get(key);
      // Who comes back under its name is somebody new to LiveKit's client.
      if (tile && tile.participant !== participant) {
        tile.remove();
        tile = null;
      }
      if (!tile) {
        tile = new Tile(participant, source);
        tile.element.addEventListener("details", () => this.#explain());
        this.#tiles.set(key, tile);
        if (source === Track.Source.ScreenShare) this.container.prepend(tile.element);
        else this.container.append(tile.element);
      }
      tile.draw();
    }
    this.on.onpeople(1 + this.room.remoteParticipants.size);
    this.on.onchange();
  }

  #measure() {
    for (const tile of this.#tiles.values()) tile.measure();
    this.#explain();
  }

  /** Asks the server once for all tiles that want to know, and never again before it has answered. */
  async #explain() {
    if (this.#isAsking || ![...this.#tiles.values()].some((tile) => tile.wantsDetails)) return;
    this.#isAsking = true;
    const told = await ask(this.room.name, this.room.localParticipant.identity);
    this.#isAsking = false;
    for (const tile of this.#tiles.values()) tile.explain(told);
  }

  #changed(state) {
    if (state in STATES) this.on.onstate(STATES[state]);
  }

  #askForSound() {
    if (this.room.canPlaybackAudio) return settle("sound");
    const run = () => this.room.startAudio();
    notify("The browser plays no sound before you ask for it.", { about: "sound", mood: "calm", action: { label: "Play sound", run } });
  }

  #over(reason) {
    if (!this.isJoined) return;
    this.isJoined = false;
    clearInterval(this.#timer);
    for (const tile of this.#tiles.values()) tile.remove();
    this.#tiles.clear();
    this.on.onover(reason);
  }
}
