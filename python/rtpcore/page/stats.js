// From getStats() to what people want to know: a row per track, and a line about the path.

/** Reads one peer connection, sender or receiver again and again; rates are those between two readings. */
export class Meter {
  #before = new Map();

  constructor(source) {
    this.source = source;
  }

  /**
   * Rows {kind, codec, rid, mode, bitrate, width, height, fps, loss, jitter} and the path {cipher, protocol, roundTrip}; bit/s,
   * fractions, milliseconds, undefined where unknown.
   */
  async read() {
    const report = [...(await this.source.getStats()).values()];
    const remote = new Map(report.filter(({ type }) => type === "remote-inbound-rtp").map((entry) => [entry.localId, entry]));
    const codecs = new Map(report.filter(({ type }) => type === "codec").map(({ id, mimeType }) => [id, mimeType.split("/")[1]]));
    const rows = [];
    for (const entry of report) {
      const codec = codecs.get(entry.codecId);
      if (entry.type === "outbound-rtp") rows.push({ codec, ...this.#sent(entry, remote.get(entry.id)) });
      if (entry.type === "inbound-rtp") rows.push({ codec, ...this.#received(entry) });
    }
    this.#before = new Map(report.map((entry) => [entry.id, entry]));
    rows.sort((one, other) => order(one) - order(other));
    return { rows, path: path(report) };
  }

  #sent(entry, remote) {
    return {
      ...common(entry),
      rid: entry.rid,
      mode: entry.scalabilityMode,
      bitrate: this.#bitrate(entry, "bytesSent"),
      loss: remote?.fractionLost,
      jitter: milliseconds(remote?.jitter),
    };
  }

  #received(entry) {
    const lost = this.#since(entry, "packetsLost");
    const received = this.#since(entry, "packetsReceived");
    return {
      ...common(entry),
      bitrate: this.#bitrate(entry, "bytesReceived"),
      loss: received > 0 ? Math.max(0, lost) / (Math.max(0, lost) + received) : undefined,
      jitter: milliseconds(entry.jitter),
    };
  }

  #bitrate(entry, name) {
    const before = this.#before.get(entry.id);
    const seconds = before && (entry.timestamp - before.timestamp) / 1000;
    return seconds > 0 ? (8 * this.#since(entry, name)) / seconds : undefined;
  }

  #since(entry, name) {
    return (entry[name] ?? 0) - (this.#before.get(entry.id)?.[name] ?? 0);
  }
}

function common(entry) {
  return { kind: entry.kind, width: entry.frameWidth, height: entry.frameHeight, fps: entry.framesPerSecond };
}

/** Video before audio, the largest first. */
function order({ kind, rid }) {
  return kind === "audio" ? 9 : ["f", "h", "q"].indexOf(rid);
}

function path(report) {
  const transport = report.find(({ type }) => type === "transport");
  const pair = report.find(({ id }) => id === transport?.selectedCandidatePairId);
  const local = report.find(({ id }) => id === pair?.localCandidateId);
  return { cipher: transport?.srtpCipher, protocol: local?.protocol, roundTrip: milliseconds(pair?.currentRoundTripTime) };
}

function milliseconds(seconds) {
  return seconds === undefined ? undefined : seconds * 1000;
}

const NONE = "–";

export function bitrate(value) {
  if (value === undefined) return NONE;
  return value >= 1e6 ? `${(value / 1e6).toFixed(1)} M` : `${Math.round(value / 1e3)} k`;
}

export function size({ width, height }) {
  return width ? `${width}×${height}` : NONE;
}

export function number(value, unit = "", digits = 0) {
  return value === undefined ? NONE : `${value.toFixed(digits)}${unit}`;
}

export function percent(value) {
  return value === undefined ? NONE : `${(100 * value).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`;
}

/** `SRTP_AEAD_AES_256_GCM` and `AES_CM_128_HMAC_SHA1_80` as people say them. */
export function cipher(name) {
  if (!name) return NONE;
  const gcm = /AES_(128|256)_GCM/.exec(name);
  return gcm ? `AES-${gcm[1]}-GCM` : name.replace(/^SRTP_/, "").replaceAll("_", "-");
}
