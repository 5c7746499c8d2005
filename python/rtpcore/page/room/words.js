// What went wrong, as people say it.

import { ConnectionErrorReason, DisconnectReason } from "/page/room/livekit.js";

const DEVICES = {
  audioinput: { name: "microphone", verb: "hear" },
  videoinput: { name: "camera", verb: "see" },
};

/** Why a camera, a microphone or a screen could not be had; "" where somebody only changed their mind. */
export function ofDevice(error, kind) {
  if (kind === "screen") {
    return error.name === "NotAllowedError" ? "" : `The screen cannot be shared: ${error.message}`;
  }
  const { name, verb } = DEVICES[kind];
  switch (error.name) {
    case "NotAllowedError":
      return `You, or this browser, refused the ${name}: the others cannot ${verb} you. Allow it for this address and press the button again.`;
    case "NotFoundError":
      return `There is no ${name} on this device.`;
    case "NotReadableError":
      return `The ${name} is in use by another program.`;
    case "InsecureContext":
      return `Browsers lend ${name}s only to pages from https or from localhost. You can still watch and listen.`;
    default:
      return `The ${name} cannot be used: ${error.message}`;
  }
}

/** Why joining did not work. */
export function ofJoining(error) {
  // What fetch throws where nobody answers.
  if (error instanceof TypeError || error.reason === ConnectionErrorReason.ServerUnreachable) return SILENCE;
  if (error.reason === ConnectionErrorReason.NotAllowed) return `The server refused: ${error.message}`;
  if (error.reason === ConnectionErrorReason.LeaveRequest) return ofLeaving(error.context) || error.message;
  if (error.reason === ConnectionErrorReason.Timeout) {
    return "The server answers, but no media gets through. Are its UDP and TCP ports open?";
  }
  return error.message;
}

/** Why one is no longer in the room; "" where that was one's own wish. */
export function ofLeaving(reason) {
  switch (reason) {
    case DisconnectReason.CLIENT_INITIATED:
      return "";
    case DisconnectReason.DUPLICATE_IDENTITY:
      return "You joined this room a second time, and the first has ended.";
    case DisconnectReason.PARTICIPANT_REMOVED:
      return "You were removed from the room.";
    case DisconnectReason.ROOM_DELETED:
    case DisconnectReason.ROOM_CLOSED:
      return "The room was closed.";
    case DisconnectReason.SERVER_SHUTDOWN:
      return "The server was stopped.";
    case DisconnectReason.CONNECTION_TIMEOUT:
    case DisconnectReason.MEDIA_FAILURE:
      return "The connection was lost: no media got through any more. Join again.";
    default:
      return "The connection to the server was lost. Is it still running?";
  }
}

const SILENCE = "The server does not answer. Is it still running?";
