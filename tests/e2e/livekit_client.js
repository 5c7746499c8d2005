// LiveKit's own client in a page, as a test drives it: one room per page, its events, and what is seen and heard.
globalThis.client = {
  room: null,
  events: [],
  heard: [],
  reason: null,
  dataTracks: {},
  streams: [],

  // Errors are said in words: what the test gets of a JavaScript exception has lost its fields.
  async do(what, argument) {
    try {
      return { result: await this[what](argument) };
    } catch ({ name, message, status, reasonName }) {
      return { error: [name, message, status, reasonName].filter(Boolean).join(" ") };
    }
  },

  async join({ url, token, release, room = {}, key, codecs, is_relayed }) {
    const { Room, RoomEvent, VideoPreset } = LivekitClient;
    if (codecs) this.restrict(codecs);
    this.room = new Room({
      dynacast: true,
      // Small pictures in two layers: a machine without a graphics card encodes them for many tests.
      videoCaptureDefaults: { resolution: { width: 640, height: 360, frameRate: 15 } },
      ...room,
      ...(key && (await this.encryption(key, release))),
      publishDefaults: {
        videoEncoding: { maxBitrate: 400_000, maxFramerate: 15 },
        videoSimulcastLayers: [new VideoPreset(320, 180, 100_000, 15)],
        degradationPreference: "maintain-resolution",
        ...room.publishDefaults,
      },
    });
    for (const name of Object.values(RoomEvent)) this.room.on(name, () => this.events.push(name));
    this.room.on(RoomEvent.Disconnected, (reason) => (this.reason = reason));
    // Without an element sound is not played, and then not counted.
    this.room.on(RoomEvent.TrackSubscribed, (track) => document.body.append(track.attach()));
    this.room.on(RoomEvent.TrackUnsubscribed, (track) => track.detach().forEach((element) => element.remove()));
    this.listen();
    if (key) await this.room.setE2EEEnabled(true);
    await this.room.connect(url, token, is_relayed ? { rtcConfig: { iceTransportPolicy: "relay" } } : {});
  },

  async encryption(key, release) {
    const keyProvider = new LivekitClient.ExternalE2EEKeyProvider();
    await keyProvider.setKey(key);
    return { encryption: { keyProvider, worker: new Worker(`/clients/${release}/livekit-client.e2ee.worker.js`) } };
  },

  // A browser that can decode only some video codecs: its receivers offer and take no others.
  restrict(codecs) {
    const able = RTCRtpReceiver.getCapabilities("video").codecs.filter(({ mimeType }) => codecs.includes(mimeType));
    const narrow = (transceiver) => {
      if (transceiver.receiver.track.kind === "video") transceiver.setCodecPreferences(able);
      return transceiver;
    };
    const add = RTCPeerConnection.prototype.addTransceiver;
    RTCPeerConnection.prototype.addTransceiver = function (...what) {
      return narrow(add.apply(this, what));
    };
    const take = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = async function (description) {
      await take.call(this, description);
      if (description.type === "offer") this.getTransceivers().forEach(narrow);
    };
  },

  listen() {
    const { RoomEvent } = LivekitClient;
    const hear = (kind, one, text, topic = "") => this.heard.push({ kind, from: one?.identity ?? "", topic, text });
    const decode = (bytes) => new TextDecoder().decode(bytes);
    const { room } = this;
    room.on(RoomEvent.TrackStreamStateChanged, ({ source }, state) => this.streams.push([source, state]));
    room.on(RoomEvent.DataReceived, (bytes, one, _, topic) => hear("data", one, decode(bytes), topic));
    room.on(RoomEvent.ChatMessage, ({ message }, one) => hear("chat", one, message));
    room.on(RoomEvent.SipDTMFReceived, ({ digit }, one) => hear("dtmf", one, digit));
    room.on(RoomEvent.TranscriptionReceived, (segments, one) => segments.map((s) => hear("transcription", one, s.text)));
    if (RoomEvent.DataTrackPublished) {
      room.on(RoomEvent.DataTrackPublished, async (track) => {
        const from = { identity: track.publisherIdentity };
        for await (const { payload } of track.subscribe()) hear("track", from, decode(payload), track.info.name);
      });
    }
    room.registerTextStreamHandler("words", async (reader, from) => hear("text", from, await reader.readAll(), "words"));
    room.registerByteStreamHandler("file", async (reader, from) => {
      hear("bytes", from, await new Blob(await reader.readAll()).text(), "file");
    });
    room.registerRpcMethod("echo", async ({ callerIdentity, payload }) => `${callerIdentity}: ${payload}`);
    room.registerRpcMethod("refuse", async () => {
      throw new LivekitClient.RpcError(101, "not today", "perhaps tomorrow");
    });
    room.registerRpcMethod("sleep", () => new Promise((resolve) => setTimeout(resolve, 20_000, "too late")));
  },

  state() {
    const { localParticipant: me } = this.room;
    const describe = ({ sid, identity, name, metadata, attributes, trackPublications, connectionQuality }) => ({
      sid,
      identity,
      name,
      metadata: metadata ?? "",
      attributes,
      quality: connectionQuality,
      tracks: Object.fromEntries([...trackPublications.values()].map((one) => [one.source, this.publication(one)])),
    });
    return {
      state: this.room.state,
      reason: this.reason,
      metadata: this.room.metadata ?? "",
      events: this.events,
      heard: this.heard,
      me: describe(me),
      others: Object.fromEntries([...this.room.remoteParticipants.values()].map((one) => [one.identity, describe(one)])),
    };
  },

  publication(one) {
    const { trackSid: sid, isMuted, isSubscribed, kind, dimensions } = one;
    return { sid, kind, muted: isMuted, subscribed: isSubscribed === true, width: dimensions?.width ?? 0 };
  },

  mine(source) {
    return this.room.localParticipant.getTrackPublication(source);
  },

  theirs({ identity, source }) {
    return this.room.remoteParticipants.get(identity)?.getTrackPublication(source);
  },

  async publish({ source, options }) {
    const me = this.room.localParticipant;
    if (source === "camera") await me.setCameraEnabled(true, undefined, options);
    if (source === "microphone") await me.setMicrophoneEnabled(true, undefined, options);
    if (source === "screen_share") await me.publishTrack(this.drawing(), { source, simulcast: false });
  },

  // A screen that nobody must choose: a counter on a canvas.
  drawing() {
    const canvas = Object.assign(document.createElement("canvas"), { width: 800, height: 450 });
    const context = canvas.getContext("2d");
    context.font = "64px sans-serif";
    let count = 0;
    setInterval(() => {
      context.fillStyle = "white";
      context.fillRect(0, 0, 800, 450);
      context.fillStyle = "black";
      context.fillText(`${(count += 1)}`, 300, 240);
    }, 100);
    return canvas.captureStream(10).getVideoTracks()[0];
  },

  async unpublish({ source }) {
    await this.room.localParticipant.unpublishTrack(this.mine(source).track);
  },

  async mute({ source, flag }) {
    const publication = this.mine(source);
    await (flag ? publication.mute() : publication.unmute());
  },

  async describe({ metadata, name, attributes }) {
    const me = this.room.localParticipant;
    if (metadata !== undefined) await me.setMetadata(metadata);
    if (name !== undefined) await me.setName(name);
    if (attributes !== undefined) await me.setAttributes(attributes);
  },

  choose({ quality, ...whose }) {
    this.theirs(whose).setVideoQuality(LivekitClient.VideoQuality[quality]);
  },

  want({ flag, ...whose }) {
    this.theirs(whose).setSubscribed(flag);
  },

  permit({ identities }) {
    const permissions = (identities ?? []).map((participantIdentity) => ({ participantIdentity, allowAll: true }));
    this.room.localParticipant.setTrackSubscriptionPermissions(identities === null, permissions);
  },

  // What has come of a track: pictures with their width and codec, or sound with its energy.
  async media(whose) {
    const { framesDecoded: frames = 0, frameWidth: width = 0, totalAudioEnergy: energy = 0, codec } =
      await this.arrival(whose);
    return { frames, width, energy, codec };
  },

  // All that the browser counts of a track, with the states of its stream that were told, the newest last.
  async arrival(whose) {
    const report = (await this.theirs(whose)?.track?.receiver?.getStats()) ?? new Map();
    const stats = [...report.values()].find(({ type }) => type === "inbound-rtp") ?? {};
    const states = this.streams.filter(([source]) => source === whose.source).map(([, state]) => state);
    return { ...stats, codec: report.get(stats.codecId)?.mimeType ?? "", states };
  },

  // What is sent of a track of its own: by codec, the encodings that are on, and what is asked of its encoder.
  async sent({ source }) {
    const { track } = this.mine(source);
    const senders = [track.sender, ...[...(track.simulcastCodecs?.values() ?? [])].map(({ sender }) => sender)];
    const sent = {};
    for (const sender of senders.filter(Boolean)) {
      const { encodings, codecs } = sender.getParameters();
      const stats = [...(await sender.getStats()).values()];
      sent[codecs[0].mimeType] = {
        active: encodings.filter(({ active }) => active).length,
        encodings: encodings.length,
        mode: encodings.find(({ active }) => active)?.scalabilityMode ?? "",
        fmtp: Object.fromEntries(codecs.map(({ mimeType, sdpFmtpLine }) => [mimeType, sdpFmtpLine ?? ""])),
        packets: stats.filter(({ type }) => type === "outbound-rtp").reduce((sum, one) => sum + one.packetsSent, 0),
      };
    }
    return sent;
  },

  async simulate({ scenario }) {
    await this.room.simulateScenario(scenario);
  },

  async say({ text, topic, identities, flag }) {
    const options = { topic, reliable: flag, destinationIdentities: identities };
    await this.room.localParticipant.publishData(new TextEncoder().encode(text), options);
  },

  async stream({ text, identities }) {
    await this.room.localParticipant.sendText(text, { topic: "words", destinationIdentities: identities });
  },

  async send({ text, identities }) {
    const file = new File([text], "file.txt");
    await this.room.localParticipant.sendFile(file, { topic: "file", destinationIdentities: identities });
  },

  async call({ identity, method, text, timeout }) {
    const call = { destinationIdentity: identity, method, payload: text, responseTimeout: timeout };
    try {
      return { answer: await this.room.localParticipant.performRpc(call) };
    } catch ({ code, message, data }) {
      return { code, message, data };
    }
  },

  async chat({ text }) {
    await this.room.localParticipant.sendChatMessage(text);
  },

  async dial({ text }) {
    await this.room.localParticipant.publishDtmf(Number(text), text);
  },

  async publishData({ name }) {
    this.dataTracks[name] = await this.room.localParticipant.publishDataTrack({ name });
  },

  async push({ name, text }) {
    await this.dataTracks[name].tryPush({ payload: new TextEncoder().encode(text) });
  },

  async leave() {
    await this.room?.disconnect();
  },
};
