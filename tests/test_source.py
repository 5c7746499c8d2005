"""Packets made here, and a forwarder that is a client of another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rtpcore import Config, Forwarder, Listen, Media, ParametersError, sdp
from rtpcore.parameters import Encoding, SenderParameters, TrackParameters
from rtpcore.source import Source
from rtpcore.stats import Histogram

OPUS = next(codec for codec in sdp.Negotiation().codecs("audio") if codec.mime_type.lower() == "audio/opus")
TRACK = TrackParameters(mid=None, kind="audio", codecs=(OPUS,), encodings=(Encoding(ssrc=7),))


@pytest.fixture
def source(forwarder: Forwarder) -> Iterator[Source]:
    with Source(forwarder, TRACK) as source:
        yield source


def send(source: Source, count: int = 10, first: int = 65_530) -> None:
    for n in range(first, first + count):
        packet = {"payload_type": OPUS.payload_type, "sequence": n, "timestamp": 960 * n, "ssrc": 7}
        assert source.send(**packet, payload=b"\xf8\xff\xfe")


async def test_packets_arrive_over_the_wrap(source: Source, until: Any) -> None:
    send(source)
    await until(lambda: (stats := source.receiver.stats()) and stats.encodings[0].packets_received == 10)


async def test_an_end_is_an_end(forwarder: Forwarder, source: Source, until: Any) -> None:
    source.close()
    source.close()
    await until(lambda: forwarder.stats().transports == 0)


def test_there_must_be_a_port() -> None:
    with pytest.raises(ParametersError, match="UDP"):
        Source(Forwarder(Config()), TRACK)


async def test_keys_of_another_length_are_refused(forwarder: Forwarder) -> None:
    with pytest.raises(ParametersError, match="length"):
        forwarder.add_keyed_transport(
            local=("127.0.0.1", 1),
            remote=("127.0.0.1", 2),
            profile="SRTP_AEAD_AES_128_GCM",
            outgoing=(b"short", bytes(12)),
            incoming=(bytes(16), bytes(12)),
        )


async def test_every_worker_knows_whose_packets_they_are(until: Any) -> None:
    async with Forwarder(Config(Listen(("127.0.0.1",)), media=Media(stats_interval_ms=10), workers=4)) as forwarder:
        for _ in range(8):
            with Source(forwarder, TRACK) as source:
                await until(lambda: forwarder.stats().transports == 1)
                await until(
                    lambda source=source: send(source, 1) or source.receiver.stats().encodings[0].packets_received
                )
            await until(lambda: forwarder.stats().transports == 0)


async def test_one_forwarder_calls_another_that_is_lite(forwarder: Forwarder, source: Source, until: Any) -> None:
    """What is sent there is counted with its delay."""
    config = Config(Listen(("127.0.0.1",)), media=Media(ice_lite=True, stats_interval_ms=10), workers=1)
    ours = Config(Listen(("127.0.0.1",)), media=Media(ice_lite=False, stats_interval_ms=10), workers=1)
    async with Forwarder(config) as lite, Forwarder(ours) as caller:
        with Source(caller, TRACK) as voice:
            negotiation, transport = sdp.Negotiation(), caller.add_transport()
            wish = SenderParameters(
                mid=negotiation.mid("audio"), kind="audio", codecs=(OPUS,), ssrc=9, track_id="t", cname="c"
            )
            offer = sdp.parse(str(negotiation.offer(transport.local, senders=[wish])))
            callee = lite.add_transport(offer.transport)
            heard = callee.add_receiver(offer.tracks[0])
            agreed = negotiation.apply(sdp.parse(str(sdp.answer(offer, callee.local, lite.candidates))))
            transport.set_remote(agreed.transport)
            transport.add_sender(voice.receiver, agreed.senders[0])
            await transport.connected()
            await callee.connected()
            send(voice)
            await until(lambda: (stats := heard.stats()) and stats.encodings and stats.encodings[0].packets_received)
            await until(lambda: sum(caller.stats().added_delay.counts) == caller.stats().packets_forwarded > 0)
            delay = caller.stats().added_delay
            assert delay.sum_s > 0
            assert delay.cumulative[-1] == (float("inf"), sum(delay.counts))
            assert sum(caller.stats().keyframe_wait.counts) == 0, "sound needs no keyframe"


def test_before_the_first_word_nothing_was_counted() -> None:
    assert Histogram().cumulative == ((float("inf"), 0),)
