// A client on LiveKit's SDK for Node that a test drives: a request per line of standard input, an answer per line of
// standard output.
import * as readline from "node:readline";
import {
  AudioFrame,
  AudioSource,
  AudioStream,
  ConnectionQuality,
  ConnectionState,
  DisconnectReason,
  EncryptionType,
  LocalAudioTrack,
  LocalVideoTrack,
  Room,
  RoomEvent,
  RpcError,
  SimulateScenarioKind,
  TrackKind,
  TrackPublishOptions,
  TrackSource,
  VideoBufferType,
  VideoFrame,
  VideoSource,
  VideoStream,
  dispose,
} from "@livekit/rtc-node";

const [WIDTH, HEIGHT] = [640, 360];
const SOURCES = {
  camera: TrackSource.SOURCE_CAMERA,
  microphone: TrackSource.SOURCE_MICROPHONE,
  screen_share: TrackSource.SOURCE_SCREENSHARE,
};
const STATES = {
  [ConnectionState.CONN_CONNECTED]: "connected",
  [ConnectionState.CONN_RECONNECTING]: "reconnecting",
  [ConnectionState.CONN_DISCONNECTED]: "disconnected",
};
const SCENARIOS = {
  "signal-reconnect": SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT,
  "full-reconnect": SimulateScenarioKind.SIMULATE_FULL_RECONNECT,
  speaker: SimulateScenarioKind.SIMULATE_SPEAKER,
  "node-failure": SimulateScenarioKind.SIMULATE_NODE_FAILURE,
  "server-leave": SimulateScenarioKind.SIMULATE_SERVER_LEAVE,
  migration: SimulateScenarioKind.SIMULATE_MIGRATION,
  "force-tcp": SimulateScenarioKind.SIMULATE_FORCE_TCP,
  "disconnect-signal-on-resume": SimulateScenarioKind.SIMULATE_DISCONNECT_SIGNAL_ON_RESUME,
};

const room = new Room();
const events = [];
const heard = [];
const qualities = {};
const seen = {};
// What runs until its track ends: by source, how to stop it.
const sources = {};
let reason = null;

const hear = (kind, from, text, topic = "") => heard.push({ kind, from, topic, text });
const nameOf = (source) => Object.keys(SOURCES).find((name) => SOURCES[name] === source);

for (const name of ["reconnecting", "reconnected"]) room.on(name, () => events.push(name));
room.on(RoomEvent.Disconnected, (why) => (reason = DisconnectReason[why] ?? null));
room.on(RoomEvent.TrackSubscribed, (track) => count(track));
room.on(RoomEvent.DataReceived, (bytes, one, _, topic) => {
  hear("data", one?.identity ?? "", new TextDecoder().decode(bytes), topic ?? "");
});
room.on(RoomEvent.ChatMessage, ({ message }, one) => hear("chat", one?.identity ?? "", message));
room.on(RoomEvent.DtmfReceived, (_, digit, one) => hear("dtmf", one.identity, digit));
room.on(RoomEvent.ConnectionQualityChanged, (quality, one) => {
  qualities[one.identity] = ConnectionQuality[quality].replace("QUALITY_", "").toLowerCase();
});
room.registerTextStreamHandler("words", async (reader, from) => {
  hear("text", from.identity, await reader.readAll(), "words");
});
room.registerByteStreamHandler("file", async (reader, from) => {
  hear("bytes", from.identity, await new Blob(await reader.readAll()).text(), "file");
});

// Reads a track to its end.
async function count(track) {
  const media = (seen[track.sid] ??= { frames: 0, width: 0, energy: 0 });
  if (track.kind === TrackKind.KIND_VIDEO) {
    for await (const { frame } of new VideoStream(track)) {
      media.frames += 1;
      media.width = frame.width;
    }
  } else {
    // Louder than what a decoder makes up for missing packets.
    for await (const frame of new AudioStream(track)) media.energy += frame.data.some((one) => Math.abs(one) > 1000);
  }
}

function describe(one) {
  const tracks = [...one.trackPublications.values()].map((track) => [
    nameOf(track.source),
    {
      sid: track.sid,
      kind: track.kind === TrackKind.KIND_VIDEO ? "video" : "audio",
      muted: track.muted,
      subscribed: track.subscribed === true,
      width: track.width,
    },
  ]);
  const { sid, identity, name, metadata, attributes } = one;
  const quality = qualities[identity] ?? "unknown";
  return { sid, identity, name, metadata, attributes, quality, tracks: Object.fromEntries(tracks) };
}

// A tone; the source sets the pace.
async function hum(sound) {
  const frame = AudioFrame.create(48_000, 1, 480);
  frame.data.forEach((_, index) => (frame.data[index] = 10_000 * Math.sin((2 * Math.PI * 400 * index) / 48_000)));
  while (!sound.closed) await sound.captureFrame(frame);
}

// A bar that moves.
function draw(picture) {
  let shown = 0;
  return setInterval(() => {
    const pixels = new Uint8Array(WIDTH * HEIGHT * 4).fill(64);
    const left = ((shown += 1) * 8) % WIDTH;
    for (let row = 0; row < HEIGHT; row += 1) pixels.fill(255, (row * WIDTH + left) * 4, (row * WIDTH + left + 32) * 4);
    picture.captureFrame(new VideoFrame(pixels, WIDTH, HEIGHT, VideoBufferType.RGBA));
  }, 1000 / 15);
}

function mine(source) {
  return [...room.localParticipant.trackPublications.values()].find((one) => one.source === SOURCES[source]);
}

function theirs({ identity, source }) {
  const publications = room.remoteParticipants.get(identity)?.trackPublications.values() ?? [];
  return [...publications].find((one) => one.source === SOURCES[source]);
}

const verbs = {
  async join({ url, token, options: { key } }) {
    const keyProviderOptions = { sharedKey: new TextEncoder().encode(key ?? "") };
    const encryption = key ? { keyProviderOptions, encryptionType: EncryptionType.GCM } : undefined;
    await room.connect(url, token, { autoSubscribe: true, dynacast: true, encryption });
    const me = room.localParticipant;
    me.registerRpcMethod("echo", async ({ callerIdentity, payload }) => `${callerIdentity}: ${payload}`);
    me.registerRpcMethod("refuse", async () => {
      throw new RpcError(101, "not today", "perhaps tomorrow");
    });
    me.registerRpcMethod("sleep", () => new Promise((resolve) => setTimeout(resolve, 20_000, "too late").unref()));
  },

  state() {
    const others = [...room.remoteParticipants.values()].map((one) => [one.identity, describe(one)]);
    return {
      state: STATES[room.connectionState],
      reason,
      metadata: room.metadata ?? "",
      events,
      heard,
      me: describe(room.localParticipant),
      others: Object.fromEntries(others),
    };
  },

  media: (whose) => seen[theirs(whose)?.sid] ?? { frames: 0, width: 0, energy: 0 },

  async publish({ source }) {
    const options = new TrackPublishOptions({ source: SOURCES[source], simulcast: source === "camera" });
    if (source === "microphone") {
      const sound = new AudioSource(48_000, 1);
      await room.localParticipant.publishTrack(LocalAudioTrack.createAudioTrack(source, sound), options);
      void hum(sound);
      sources[source] = () => sound.close();
    } else {
      const picture = new VideoSource(WIDTH, HEIGHT);
      const timer = draw(picture);
      sources[source] = () => clearInterval(timer);
      await room.localParticipant.publishTrack(LocalVideoTrack.createVideoTrack(source, picture), options);
    }
  },

  async unpublish({ source }) {
    await room.localParticipant.unpublishTrack(mine(source).sid);
    await sources[source]();
  },

  async describe({ metadata, name, attributes }) {
    const me = room.localParticipant;
    if (metadata !== undefined) await me.updateMetadata(metadata);
    if (name !== undefined) await me.updateName(name);
    if (attributes !== undefined) await me.setAttributes(attributes);
  },

  want: ({ flag, ...whose }) => theirs(whose).setSubscribed(flag),

  simulate: ({ scenario }) => room.simulateScenario(SCENARIOS[scenario]),

  async say({ text, topic, identities, flag }) {
    const options = { topic, reliable: flag, destination_identities: identities };
    await room.localParticipant.publishData(new TextEncoder().encode(text), options);
  },

  async stream({ text, identities }) {
    await room.localParticipant.sendText(text, { topic: "words", destinationIdentities: identities });
  },

  async send({ text, identities }) {
    const options = { topic: "file", name: "file.txt", destinationIdentities: identities };
    const writer = await room.localParticipant.streamBytes(options);
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  },

  async call({ identity, method, text, timeout }) {
    const call = { destinationIdentity: identity, method, payload: text, responseTimeout: timeout };
    try {
      return { answer: await room.localParticipant.performRpc(call) };
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      return { code: error.code, message: error.message, data: error.data };
    }
  },

  chat: ({ text }) => room.localParticipant.sendChatMessage(text).then(() => null),

  dial: ({ text }) => room.localParticipant.publishDtmf(Number(text), text),

  async leave() {
    for (const stop of Object.values(sources)) await stop();
    await room.disconnect();
  },
};

async function answer({ id, do: what, ...request }) {
  let said;
  try {
    if (!verbs[what]) throw new Error(`cannot ${what}`);
    said = { id, result: (await verbs[what](request)) ?? null };
  } catch (error) {
    said = { id, error: `${error.message}` };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const answered = answer(request);
  // Others go on while one that was called has not answered.
  if (request.do !== "call") await answered;
}
await dispose();
process.exit();
