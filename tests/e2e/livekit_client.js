// LiveKit's own client in a page, as a test drives it: one room per page, its events, and what is seen and heard.
globalThis.client = {
  room: null,
  events: [],
  reason: null,

  async join({ url, token, options, rtcConfig }) {
    const { Room, RoomEvent, VideoPreset } = LivekitClient;
    this.room = new Room({
      dynacast: true,
      // Small pictures in two layers: a machine without a graphics card encodes them for many tests.
      videoCaptureDefaults: { resolution: { width: 640, height: 360, frameRate: 15 } },
      publishDefaults: {
        videoEncoding: { maxBitrate: 400_000, maxFramerate: 15 },
        videoSimulcastLayers: [new VideoPreset(320, 180, 100_000, 15)],
        degradationPreference: "maintain-resolution",
      },
      ...options,
    });
    for (const name of Object.values(RoomEvent)) this.room.on(name, () => this.events.push(name));
    this.room.on(RoomEvent.Disconnected, (reason) => (this.reason = reason));
    // Without an element sound is not played, and then not counted.
    this.room.on(RoomEvent.TrackSubscribed, (track) => document.body.append(track.attach()));
    this.room.on(RoomEvent.TrackUnsubscribed, (track) => track.detach().forEach((element) => element.remove()));
    try {
      await this.room.connect(url, token, { rtcConfig });
    } catch ({ name, message, status, reasonName }) {
      return { error: { name, message, status, reason: reasonName } };
    }
    return {};
  },

  state() {
    const { localParticipant: me } = this.room;
    const describe = ({ sid, identity, name, metadata, attributes, trackPublications }) => ({
      sid,
      identity,
      name,
      metadata: metadata ?? "",
      attributes,
      tracks: Object.fromEntries([...trackPublications.values()].map((one) => [one.source, this.publication(one)])),
    });
    return {
      state: this.room.state,
      reason: this.reason,
      metadata: this.room.metadata ?? "",
      events: this.events,
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

  async publish(source) {
    const me = this.room.localParticipant;
    if (source === "camera") await me.setCameraEnabled(true);
    if (source === "microphone") await me.setMicrophoneEnabled(true);
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

  async unpublish(source) {
    await this.room.localParticipant.unpublishTrack(this.mine(source).track);
  },

  async mute({ source, muted }) {
    const publication = this.mine(source);
    await (muted ? publication.mute() : publication.unmute());
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

  want({ wanted, ...whose }) {
    this.theirs(whose).setSubscribed(wanted);
  },

  permit(identities) {
    const permissions = identities.map((participantIdentity) => ({ participantIdentity, allowAll: true }));
    this.room.localParticipant.setTrackSubscriptionPermissions(false, permissions);
  },

  permitAll() {
    this.room.localParticipant.setTrackSubscriptionPermissions(true);
  },

  // What has come of a track: pictures with their width, or sound with its energy.
  async media(whose) {
    const track = this.theirs(whose)?.track;
    const report = (await track?.receiver?.getStats()) ?? new Map();
    const stats = [...report.values()].find(({ type }) => type === "inbound-rtp") ?? {};
    return { frames: stats.framesDecoded ?? 0, width: stats.frameWidth ?? 0, energy: stats.totalAudioEnergy ?? 0 };
  },

  async simulate(scenario) {
    await this.room.simulateScenario(scenario);
  },

  async leave() {
    await this.room?.disconnect();
  },
};
