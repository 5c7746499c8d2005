"""GStreamer's webrtcbin as a peer: ``gstreamer_peer.py publish|play URL``, under the Python that has Debian's gi.

Says on standard output, a line of JSON each, what its certificate is (PEM), how its connection fares and how many
pictures it has decoded; goes on until it is stopped.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

VP8 = "application/x-rtp,media=video,encoding-name=VP8,clock-rate=90000,payload=96"
SOURCE = f"""
    videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=15/1
    ! vp8enc deadline=1 keyframe-max-dist=15 ! rtpvp8pay ! capsfilter caps={VP8}
"""


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


class Peer:
    """One session, from the offer on; everything happens in callbacks of GStreamer's threads."""

    def __init__(self, verb: str, url: str) -> None:
        self.url = url
        self.pictures = 0
        self.pipeline = Gst.Pipeline.new()
        self.webrtc = Gst.ElementFactory.make("webrtcbin")
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.webrtc)
        self.webrtc.connect("notify::connection-state", self.on_connection_state)
        self.webrtc.connect("notify::ice-gathering-state", self.on_gathering_state)
        self.webrtc.connect("pad-added", self.on_pad)
        self.webrtc.connect("on-negotiation-needed", self.on_negotiation_needed)
        if verb == "play":
            direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
            self.webrtc.emit("add-transceiver", direction, Gst.Caps.from_string(VP8))
        else:
            source = Gst.parse_bin_from_description(SOURCE, True)
            self.pipeline.add(source)
            source.link(self.webrtc)
        self.pipeline.set_state(Gst.State.PLAYING)

    def on_negotiation_needed(self, _webrtc: object) -> None:
        self.webrtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self.on_offer))

    def on_offer(self, promise: Gst.Promise) -> None:
        reply = promise.get_reply()  # the offer is a part of it, and lives as long
        offer = reply.get_value("offer")
        self.webrtc.emit("set-local-description", offer, Gst.Promise.new())

    def on_gathering_state(self, *_: object) -> None:
        if self.webrtc.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            return
        offer = self.webrtc.get_property("local-description").sdp.as_text()
        request = urllib.request.Request(self.url, offer.encode(), {"Content-Type": "application/sdp"})
        with urllib.request.urlopen(request) as answer:
            text = answer.read().decode()
        _, sdp = GstSdp.SDPMessage.new_from_text(text)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        self.webrtc.emit("set-remote-description", description, Gst.Promise.new())

    def on_connection_state(self, *_: object) -> None:
        decoders = self.webrtc.iterate_all_by_element_factory_name("dtlsdec")
        found, decoder = decoders.next()
        if found == Gst.IteratorResult.OK:
            say(certificate=decoder.get_property("pem"))
        say(state=self.webrtc.get_property("connection-state").value_nick)

    def on_pad(self, _webrtc: object, pad: Gst.Pad) -> None:
        if pad.direction != Gst.PadDirection.SRC:
            return
        decode = Gst.parse_bin_from_description(
            "rtpvp8depay ! vp8dec ! fakesink name=screen signal-handoffs=true", True
        )
        decode.get_by_name("screen").connect("handoff", self.on_picture)
        self.pipeline.add(decode)
        decode.sync_state_with_parent()
        pad.link(decode.get_static_pad("sink"))

    def on_picture(self, *_: object) -> None:
        self.pictures += 1
        say(pictures=self.pictures)


def fail(*failure: object) -> None:
    # In a callback an exception would only be printed.
    sys.__excepthook__(*failure)
    os._exit(1)


def main() -> None:
    sys.excepthook = fail
    Gst.init(None)
    verb, url = sys.argv[1:3]
    Peer(verb, url)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
