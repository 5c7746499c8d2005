// LiveKit's client as modules take it. Its build for browsers is a script that leaves one global behind.

import "/page/vendor/livekit-client.js";

export const {
  ConnectionError,
  ConnectionErrorReason,
  ConnectionState,
  DisconnectReason,
  Room,
  RoomEvent,
  Track,
  VideoPresets,
  VideoQuality,
  setLogLevel,
} = globalThis.LivekitClient;

// What goes well needs no words in the console.
setLogLevel("warn");
