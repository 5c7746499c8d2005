// A page of a measured room: one sends a camera and a voice, another looks at them and takes notes.
globalThis.connections = [];
globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...what) {
    super(...what);
    connections.push(this);
  }
};

// Everything of a kind that the page's connections tell.
async function tell(type) {
  const reports = await Promise.all(connections.map((one) => one.getStats()));
  return reports.flatMap((report) => [...report.values()]).filter((one) => one.type === type);
}

globalThis.publisher = {
  async join({ url, token, bitrate }) {
    const { Room, Track } = LivekitClient;
    this.room = new Room({ dynacast: false });
    await this.room.connect(url, token);
    const me = this.room.localParticipant;
    const resolution = { width: 1280, height: 720, frameRate: 30 };
    const videoEncoding = { maxBitrate: bitrate, maxFramerate: 30 };
    await me.setCameraEnabled(true, { resolution }, { videoCodec: "vp8", simulcast: true, videoEncoding });
    await me.publishTrack(this.voice(), { source: Track.Source.Microphone });
  },

  // What people do in a call: mute this and that, publish anew. What belongs together must play together again each time.
  async stir() {
    const { Track } = LivekitClient;
    const me = this.room.localParticipant;
    const pause = () => new Promise((resolve) => setTimeout(resolve, 4000));
    const [camera, voice] = [Track.Source.Camera, Track.Source.Microphone].map((source) => me.getTrackPublication(source));
    for (const one of [camera, voice]) {
      await pause();
      await one.mute();
      await pause();
      await one.unmute();
    }
    for (const { track, source, options } of [camera, voice]) {
      await pause();
      await me.unpublishTrack(track, false);
      await me.publishTrack(track, { ...options, source });
    }
  },

  // Vowels without a pause: a buzz through resonances that move four times a second, as syllables do. Silence would be
  // concealed unheard, and not even sent.
  voice() {
    const context = new AudioContext();
    const buzz = new OscillatorNode(context, { type: "sawtooth", frequency: 120 });
    const pitch = new OscillatorNode(context, { frequency: 0.7 });
    const syllables = new OscillatorNode(context, { frequency: 4 });
    const out = context.createMediaStreamDestination();
    pitch.connect(new GainNode(context, { gain: 15 })).connect(buzz.frequency);
    for (const [frequency, swing] of [[500, 200], [1500, 600], [2500, 100]]) {
      const vowel = new BiquadFilterNode(context, { type: "bandpass", frequency, Q: 6 });
      syllables.connect(new GainNode(context, { gain: swing })).connect(vowel.frequency);
      buzz.connect(vowel).connect(new GainNode(context, { gain: 0.8 })).connect(out);
    }
    for (const one of [buzz, pitch, syllables]) one.start();
    return out.stream.getAudioTracks()[0];
  },

  async layers() {
    const all = await tell("outbound-rtp");
    return all.filter(({ kind }) => kind === "video").map((one) => ({
      rid: one.rid ?? "",
      height: one.frameHeight ?? 0,
      fps: one.framesPerSecond ?? 0,
      frames: one.framesEncoded ?? 0,
      key_frames: one.keyFramesEncoded ?? 0,
      bytes: one.bytesSent ?? 0,
      nacks: one.nackCount ?? 0,
      plis: one.pliCount ?? 0,
      limited: one.qualityLimitationReason ?? "",
    }));
  },
};

const NOTED = {
  video: [
    "framesDecoded", "framesReceived", "framesDropped", "keyFramesDecoded", "frameWidth", "frameHeight", "freezeCount",
    "totalFreezesDuration", "packetsReceived", "packetsLost", "packetsDiscarded", "bytesReceived", "headerBytesReceived",
    "retransmittedPacketsReceived", "retransmittedBytesReceived", "fecPacketsReceived", "fecBytesReceived", "nackCount",
    "pliCount", "firCount", "jitterBufferDelay", "jitterBufferTargetDelay", "jitterBufferEmittedCount", "totalDecodeTime",
  ],
  audio: [
    "totalSamplesReceived", "concealedSamples", "silentConcealedSamples", "concealmentEvents", "packetsReceived",
    "packetsLost", "packetsDiscarded", "bytesReceived", "headerBytesReceived", "retransmittedPacketsReceived",
    "fecPacketsReceived", "jitterBufferDelay", "jitterBufferEmittedCount", "totalAudioEnergy",
  ],
};

globalThis.viewer = {
  samples: [],
  frames: [],
  joined_ms: null,
  first_frame_ms: null,
  events: [],

  async join({ url, token, single }) {
    const { Room, RoomEvent } = LivekitClient;
    this.room = new Room({ adaptiveStream: false, singlePeerConnection: single });
    const log = (name) => this.room.on(name, () => this.events.push([performance.now() - this.began, name]));
    [RoomEvent.Reconnecting, RoomEvent.SignalReconnecting, RoomEvent.Reconnected, RoomEvent.Disconnected].forEach(log);
    this.room.on(RoomEvent.TrackSubscribed, (track) => {
      const element = track.attach();
      document.body.append(element);
      if (track.kind === "video") this.watch(element);
    });
    this.began = performance.now();
    // Frames are counted more often than the rest: the longest time without one is a figure.
    this.timers = [setInterval(() => this.sample(), 50)];
    await this.room.connect(url, token);
    this.joined_ms = performance.now() - this.began;
  },

  watch(element) {
    const shown = (now, { presentationTime }) => {
      this.first_frame_ms ??= performance.now() - this.began;
      this.frames.push(presentationTime - this.began);
      element.requestVideoFrameCallback(shown);
    };
    element.requestVideoFrameCallback(shown);
  },

  async sample() {
    if (this.is_sampling) return;
    this.is_sampling = true;
    const noted = { at: performance.now() - this.began };
    for (const one of await tell("inbound-rtp")) {
      // A connection tells of tracks that have ended too.
      if (!one.packetsReceived || (noted[one.kind]?.packetsReceived ?? 0) > one.packetsReceived) continue;
      noted[one.kind] = Object.fromEntries(NOTED[one.kind].map((name) => [name, one[name] ?? 0]));
    }
    // What plays now, by the clocks of this page and of the sender's RTP: Chromium has no estimatedPlayoutTimestamp.
    for (const receiver of connections.flatMap((one) => one.getReceivers())) {
      const [now] = receiver.getSynchronizationSources();
      const kind = noted[receiver.track.kind];
      if (now && kind) Object.assign(kind, { playedAt: now.timestamp, playedRtp: now.rtpTimestamp });
    }
    this.samples.push(noted);
    this.is_sampling = false;
  },

  async end() {
    this.timers.forEach(clearInterval);
    const { samples, frames, joined_ms, first_frame_ms, events } = this;
    const pairs = (await tell("candidate-pair")).filter(({ nominated, bytesReceived }) => nominated && bytesReceived);
    await this.room.disconnect();
    return { samples, frames, joined_ms, first_frame_ms, events, pairs };
  },
};
