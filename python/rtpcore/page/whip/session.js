// WHIP (RFC 9725) and WHEP: a peer connection and the HTTP resource that stands for it on the server.

/** The server said no; `status` is its number, the message its words. */
export class Refused extends Error {
  constructor(status, text) {
    super(text || `The server answered ${status}.`);
    this.status = status;
  }
}

/** How each codec is published. The smallest encoding comes first: that is layer 0. */
export const CODECS = {
  vp8: { mimeType: "video/VP8", encodings: simulcast() },
  h264: { mimeType: "video/H264", encodings: simulcast() },
  vp9: { mimeType: "video/VP9", encodings: [{ scalabilityMode: "L3T3_KEY", maxBitrate: 2_500_000 }] },
  av1: { mimeType: "video/AV1", encodings: [{ scalabilityMode: "L3T3", maxBitrate: 2_000_000 }] },
};

const CHAT = "chat";
const DEPENDENCY_DESCRIPTOR = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

function simulcast() {
  return [
    { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
    { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
    { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
  ];
}

/** Whether this browser can publish so: the codec, and for SVC the layers too. */
export async function isSupported({ mimeType, encodings }) {
  const known = RTCRtpSender.getCapabilities?.("video")?.codecs ?? [];
  if (!known.some((codec) => codec.mimeType.toLowerCase() === mimeType.toLowerCase())) return false;
  const [{ scalabilityMode }] = encodings;
  if (!scalabilityMode) return true;
  const video = { contentType: mimeType, width: 1280, height: 720, framerate: 30, bitrate: 2_000_000, scalabilityMode };
  try {
    return (await navigator.mediaCapabilities.encodingInfo({ type: "webrtc", video })).supported;
  } catch {
    return false; // Browsers without SVC do not know the question.
  }
}

/**
 * A publisher's or a player's connection. `onstate(state)` and `onmessage(text)` may be set; the states are those of
 * RTCPeerConnection, and `ended` where the server said goodbye.
 */
export class Session {
  onstate = () => {};
  onmessage = () => {};

  constructor() {
    this.pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.pc.onconnectionstatechange = () => this.onstate(this.pc.connectionState);
    // Both ends of a WHIP or WHEP connection may talk, so that the channel is there from the first offer on.
    this.channel = this.pc.createDataChannel(CHAT);
    this.channel.onmessage = ({ data }) => typeof data === "string" && this.onmessage(data);
    // The goodbye of DTLS shows here at once; as a connection state only after seconds, and as `disconnected`.
    this.channel.onclose = () => {
      if (this.isOver) return;
      this.url = null; // The server has forgotten it.
      this.onstate("ended");
    };
    this.url = null;
    this.isOver = false;
  }

  /** Publishes `stream` in `room`. Raises Refused, or TypeError where the server does not answer. */
  static async publish(room, stream, { mimeType, encodings }, handlers) {
    const session = Object.assign(new Session(), handlers);
    for (const track of stream.getAudioTracks()) {
      session.pc.addTransceiver(track, { direction: "sendonly", streams: [stream] });
    }
    for (const track of stream.getVideoTracks()) {
      const transceiver = session.pc.addTransceiver(track, { direction: "sendonly", streams: [stream], sendEncodings: encodings });
      transceiver.setCodecPreferences?.(preferred(mimeType));
    }
    return session.#begin(`/whip/${encodeURIComponent(room)}`);
  }

  /** Plays what one publisher sends: a section for each of `kinds`. Raises like `publish`. */
  static async play(room, publisher, kinds, handlers) {
    const session = Object.assign(new Session(), handlers);
    session.stream = new MediaStream();
    session.pc.ontrack = ({ track }) => session.stream.addTrack(track);
    for (const kind of kinds) askForLayers(session.pc.addTransceiver(kind, { direction: "recvonly" }));
    return session.#begin(`/whep/${encodeURIComponent(room)}/${encodeURIComponent(publisher)}`);
  }

  /** Asks for at most the layer `spatial`, or for the best with null, of the played video. */
  async choose(spatial) {
    const [video] = this.pc.getTransceivers().filter(({ receiver }) => receiver.track.kind === "video");
    const wish = spatial === null ? { mid: video.mid } : { mid: video.mid, spatial };
    await request(`${this.url}/layer`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(wish) });
  }

  /** What the server knows of this session. */
  async facts() {
    return (await request(`${this.url}/stats`, { signal: AbortSignal.timeout(4000) })).json();
  }

  /** Sends a chat message; false while the channel is not open. */
  say(text) {
    if (this.channel.readyState !== "open") return false;
    this.channel.send(text);
    return true;
  }

  /** Ends both, the resource and the connection; works while the page goes away, too. */
  leave() {
    if (this.isOver) return;
    this.isOver = true;
    this.pc.onconnectionstatechange = null;
    // In this order: with the connection the server ends the resource too, and then the DELETE would find nothing.
    this.#end().finally(() => this.pc.close());
  }

  async #begin(endpoint) {
    try {
      await this.pc.setLocalDescription();
      const headers = { "Content-Type": "application/sdp" };
      const response = await request(endpoint, { method: "POST", headers, body: this.pc.localDescription.sdp });
      this.url = response.headers.get("Location");
      const sdp = await response.text();
      if (this.isOver) {
        // Somebody left while the server was thinking.
        await this.#end();
        return this;
      }
      await this.pc.setRemoteDescription({ type: "answer", sdp });
      return this;
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  async #end() {
    const { url } = this;
    this.url = null;
    if (url) await fetch(url, { method: "DELETE", keepalive: true, signal: AbortSignal.timeout(4000) }).catch(() => {});
  }
}

async function request(url, options) {
  const response = await fetch(url, options);
  if (!response.ok) throw new Refused(response.status, (await response.text()).trim());
  return response;
}

/** One codec with its retransmissions and what protects it; others would be no simulcast. */
function preferred(mimeType) {
  const wanted = [mimeType, "video/rtx"].map((name) => name.toLowerCase());
  return RTCRtpSender.getCapabilities("video").codecs.filter((codec) => wanted.includes(codec.mimeType.toLowerCase()));
}

/**
 * Chromium (156) reads the layers of AV1 and VP9 from the dependency descriptor, but does not offer it by itself where it
 * only receives; without it a picture of several AV1 layers cannot be put together.
 */
function askForLayers(transceiver) {
  const extensions = transceiver.getHeaderExtensionsToNegotiate?.() ?? [];
  const wanted = extensions.find(({ uri }) => uri === DEPENDENCY_DESCRIPTOR);
  if (!wanted) return;
  wanted.direction = "sendrecv";
  transceiver.setHeaderExtensionsToNegotiate(extensions);
}
