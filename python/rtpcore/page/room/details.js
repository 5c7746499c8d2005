// What the server says of what we get: which layer, why no better one, and what it thinks of our path.

import { bitrate, number, percent } from "/page/stats.js";

const NONE = "–";

/** What `identity` gets and why; null where the server does not say. */
export async function ask(room, identity) {
  try {
    const answer = await fetch(`/dev/why?${new URLSearchParams({ room, identity })}`);
    return answer.ok ? (await answer.json()).participants[0] : null;
  } catch {
    // Nobody answers: the call itself notices that, and says so.
    return null;
  }
}

/** Shows in `element` what was said of the tracks `sids`. */
export function draw(element, told, sids) {
  const tracks = told?.tracks.filter((track) => sids.includes(track.track_sid)) ?? [];
  tracks.sort((one, other) => sids.indexOf(one.track_sid) - sids.indexOf(other.track_sid));
  element.querySelector("tbody").replaceChildren(...tracks.flatMap(rows));
  element.querySelector(".path").replaceChildren(...(told ? pathOf(told.path) : ["The server says nothing."]));
}

function rows(track) {
  const { nacks, retransmitted, fec_packets: ahead } = track.repairs;
  const cells = {
    track: track.kind,
    layer: picture(track.layer, track.kind),
    granted: picture(track.granted, track.kind),
    wished: picture(track.wished, track.kind),
    loss: percent(track.fraction_lost),
    rtt: number(track.round_trip_ms ?? undefined, " ms"),
    repairs: `${nacks}/${retransmitted}/${ahead}`,
  };
  const line = document.createElement("tr");
  for (const [name, text] of Object.entries(cells)) {
    const cell = line.insertCell();
    cell.dataset.detail = name;
    cell.textContent = text;
  }
  const reason = document.createElement("tr");
  reason.className = "reason";
  const cell = reason.insertCell();
  cell.colSpan = Object.keys(cells).length;
  cell.dataset.limit = track.limit;
  cell.textContent = [track.reason, ...waits(track)].join("; ");
  return [line, reason];
}

function waits({ keyframe_wait_ms: keyframe, playout_delay_ms: delay }) {
  return [
    ...(keyframe === null ? [] : [`last keyframe after ${keyframe} ms`]),
    ...(delay ? [`held back ${delay} ms`] : []),
  ];
}

/** LiveKit's clients send three temporal layers at the most: the third is every frame. */
const EVERY_FRAME = 2;

/** Height and, where it is not every frame, the temporal layer: all that fits. */
function picture(layer, kind) {
  if (kind === "audio") return "";
  if (!layer) return NONE;
  const size = layer.height ? `${layer.height}p` : `L${layer.spatial}`;
  return (layer.temporal ?? EVERY_FRAME) >= EVERY_FRAME ? size : `${size} T${layer.temporal}`;
}

function pathOf(path) {
  if (!path) return ["Nothing is estimated of the path to here."];
  const estimate = document.createElement("b");
  estimate.textContent = `${bitrate(path.estimate_bps)}bit/s`;
  const budget = path.video_budget_bps === null ? "unbounded" : `${bitrate(path.video_budget_bps)}bit/s`;
  const given = `${bitrate(path.granted_bps)}bit/s`;
  return ["Path to here: ", estimate, ` (${path.cause}: ${path.reason}); video may take ${budget}, is given ${given}`];
}
