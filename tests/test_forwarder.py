"""A forwarder's life: opened and closed in every order, shared by threads, abandoned, and asked for too much."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import subprocess
import sys
import textwrap
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rtpcore import (
    BindError,
    ChannelOpened,
    ClosedError,
    Config,
    ConfigError,
    DataReceived,
    Forwarder,
    Layer,
    LimitError,
    Limits,
    Listen,
    Media,
    ParametersError,
    RtpcoreError,
    TransportChanged,
    sdp,
)
from rtpcore.parameters import Codec, Encoding, SenderParameters, TrackParameters

if TYPE_CHECKING:
    from collections.abc import Callable

OPUS = Codec("audio/opus", 111, 48000, 2)
AUDIO = TrackParameters(mid="0", kind="audio", codecs=(OPUS,))
COPY = SenderParameters(mid="0", kind="audio", codecs=(OPUS,), ssrc=1, cname="a")


def threads() -> int:
    """Workers of this process."""
    count = 0
    for name in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
            count += name.read_text().startswith("rtpcore-")
    return count


class TestLife:
    async def test_workers_run_between_enter_and_exit(self, config: Config, until: Any) -> None:
        before = threads()
        async with Forwarder(replace(config, workers=2)) as forwarder:
            assert forwarder.worker_count == 2
            await until(lambda: threads() == before + 2)  # a thread names itself once it runs
            assert {candidate.address for candidate in forwarder.candidates} == {"127.0.0.1"}
            assert {candidate.protocol for candidate in forwarder.candidates} == {"udp", "tcp"}
        assert threads() == before

    async def test_a_forwarder_can_be_entered_again(self, config: Config) -> None:
        forwarder = Forwarder(config)
        for _ in range(3):
            async with forwarder:
                transport = forwarder.add_transport()
                assert transport.state == "new"
            assert transport.state == "closed"

    async def test_a_running_forwarder_cannot_be_entered(self, forwarder: Forwarder) -> None:
        with pytest.raises(RtpcoreError, match="running already"):
            await forwarder.__aenter__()
        forwarder.add_transport()

    async def test_closing_twice_is_closing_once(self, config: Config) -> None:
        async with Forwarder(config) as forwarder:
            await forwarder.close()
            await forwarder.close()
        await forwarder.close()
        await Forwarder(config).close()

    async def test_closing_from_two_tasks(self, config: Config) -> None:
        async with Forwarder(config) as forwarder:
            await asyncio.gather(forwarder.close(), forwarder.close())
        assert forwarder.candidates

    async def test_an_exception_inside_passes_through_and_closes(self, config: Config) -> None:
        with pytest.raises(ZeroDivisionError):
            async with Forwarder(config) as forwarder:
                raise ZeroDivisionError
        with pytest.raises(ClosedError):
            forwarder.stats()

    async def test_exit_while_transports_live_says_goodbye(self, config: Config, peer: Callable[[], Any]) -> None:
        async with Forwarder(config) as forwarder:
            client = peer()
            client.channel("chat")
            transport = await client.connect(forwarder)
            closed = asyncio.Event()
            client.pc.sctp.transport.on("statechange", closed.set)
        assert transport.state == "closed"
        await asyncio.wait_for(closed.wait(), 30)  # close_notify reached the peer

    async def test_waiting_ends_with_the_forwarder(self, config: Config) -> None:
        async with Forwarder(config) as forwarder:
            waiting = asyncio.create_task(forwarder.add_transport().connected())
            events = asyncio.create_task(anext(forwarder.events(), None))
            await asyncio.sleep(0)
        with pytest.raises(ClosedError):
            await waiting
        assert await events is None

    async def test_everything_after_close_raises_closed_error(self, config: Config) -> None:
        async with Forwarder(config) as forwarder:
            transport = forwarder.add_transport()
            receiver = transport.add_receiver(AUDIO)
            sender = transport.add_sender(receiver, COPY)
        calls: list[Callable[[], object]] = [
            forwarder.add_transport,
            forwarder.stats,
            forwarder.events,
            lambda: forwarder.tap("chat"),
            lambda: forwarder.worker_count,
            lambda: transport.add_receiver(AUDIO),
            lambda: transport.add_sender(receiver, COPY),
            lambda: transport.open_channel("chat"),
            lambda: transport.send_data("chat", b""),
            lambda: transport.follow_data(transport),
            transport.restart_ice,
            transport.stats,
            receiver.stats,
            receiver.request_keyframe,
            sender.stats,
            sender.pause,
            sender.resume,
            lambda: sender.prefer(Layer()),
            lambda: sender.follow(receiver),
        ]
        for call in calls:
            with pytest.raises(ClosedError) as raised:
                call()
            assert raised.value.what in ("forwarder", "transport")
        for end in (transport, receiver, sender):
            end.close()

    async def test_a_closed_transport_raises_and_the_rest_goes_on(self, forwarder: Forwarder, until: Any) -> None:
        gone, stays = forwarder.add_transport(), forwarder.add_transport()
        receiver = gone.add_receiver(AUDIO)
        gone.close()
        gone.close()
        with pytest.raises(ClosedError):
            gone.add_receiver(AUDIO)
        receiver.close()
        receiver.close()
        await until(lambda: forwarder.stats().transports == 1)
        await until(lambda: gone.state == "closed")
        assert stays.state == "new"
        assert gone.stats() is None
        assert receiver.stats() is None


class TestErrors:
    async def test_a_taken_port_raises_bind_error_with_the_facts(self, config: Config) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            forwarder = Forwarder(replace(config, listen=Listen(("127.0.0.1",), udp_port=port)))
            with pytest.raises(BindError) as raised:
                await forwarder.__aenter__()
            assert (raised.value.address, raised.value.port) == ("127.0.0.1", port)
            assert raised.value.errno == 98
            assert isinstance(raised.value, OSError)
            with pytest.raises(ClosedError):
                forwarder.add_transport()
        async with forwarder:
            assert {candidate.port for candidate in forwarder.candidates} == {port}

    async def test_a_taken_tcp_port_raises_bind_error(self, config: Config) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(BindError) as raised:
                await Forwarder(replace(config, listen=Listen(("127.0.0.1",), tcp_port=port))).__aenter__()
            assert raised.value.port == port

    async def test_two_forwarders_cannot_share_a_port(self, forwarder: Forwarder, config: Config) -> None:
        port = forwarder.candidates[0].port
        with pytest.raises(BindError):
            await Forwarder(replace(config, listen=Listen(("127.0.0.1",), udp_port=port))).__aenter__()

    async def test_an_address_of_another_machine_raises_bind_error(self, config: Config) -> None:
        with pytest.raises(BindError) as raised:
            await Forwarder(replace(config, listen=Listen(("192.0.2.1",)))).__aenter__()
        assert raised.value.address == "192.0.2.1"

    async def test_more_transports_than_the_limit(self, config: Config, until: Any) -> None:
        async with Forwarder(replace(config, limits=Limits(transports=2))) as forwarder:
            first = forwarder.add_transport()
            forwarder.add_transport()
            with pytest.raises(LimitError) as raised:
                forwarder.add_transport()
            assert raised.value.limit == 2
            first.close()
            await until(lambda: first.state == "closed")
            forwarder.add_transport()

    @pytest.mark.parametrize(
        ("make", "setting"),
        [
            (lambda: Config(workers=0), "workers"),
            (lambda: Config(workers=65), "workers"),
            (lambda: Listen(addresses=()), "listen.addresses"),
            (lambda: Listen(addresses=("localhost",)), "listen.addresses"),
            (lambda: Listen(advertise=("example.org",)), "listen.advertise"),
            (lambda: Listen(udp_port=65536), "listen.udp_port"),
            (lambda: Listen(tcp_port=-1), "listen.tcp_port"),
            (lambda: Limits(transports=0), "limits.transports"),
            (lambda: Media(history_packets=255), "media.history_packets"),
            (lambda: Media(keyframe_interval_ms=-1), "media.keyframe_interval_ms"),
            (lambda: Media(speaker_interval_ms=49), "media.speaker_interval_ms"),
            (lambda: Media(speaker_softest_dbov=128), "media.speaker_softest_dbov"),
            (lambda: Media(speaker_least_percent=101), "media.speaker_least_percent"),
            (lambda: Media(stats_interval_ms=9), "media.stats_interval_ms"),
        ],
    )
    def test_a_wrong_setting_is_named(self, make: Callable[[], object], setting: str) -> None:
        with pytest.raises(ConfigError) as raised:
            make()
        assert raised.value.setting == setting

    @pytest.mark.parametrize(
        "track",
        [
            replace(AUDIO, codecs=()),
            replace(AUDIO, mid=""),
            replace(AUDIO, mid="x" * 17),
            replace(AUDIO, kind="text"),  # type: ignore[arg-type]
            replace(AUDIO, encodings=(Encoding(rid="a"),) * 4),
            replace(AUDIO, encodings=(Encoding(rid=""),)),
            replace(AUDIO, encodings=(Encoding(ssrc=2**32),)),
            replace(AUDIO, codecs=(replace(OPUS, payload_type=128),)),
            replace(AUDIO, codecs=(replace(OPUS, payload_type=256),)),
            replace(AUDIO, codecs=(replace(OPUS, clock_rate=-1),)),
        ],
    )
    async def test_a_track_that_no_packet_could_carry(self, forwarder: Forwarder, track: TrackParameters) -> None:
        with pytest.raises(ParametersError):
            forwarder.add_transport().add_receiver(track)

    async def test_a_copy_that_cannot_be_sent(self, forwarder: Forwarder) -> None:
        transport = forwarder.add_transport()
        receiver = transport.add_receiver(AUDIO)
        for copy in (replace(COPY, codecs=()), replace(COPY, ssrc=-1), replace(COPY, mid="\n")):
            with pytest.raises(ParametersError):
                transport.add_sender(receiver, copy)

    async def test_a_channel_that_cannot_be_opened(self, forwarder: Forwarder) -> None:
        transport = forwarder.add_transport()
        wrong: list[dict[str, Any]] = [
            {"max_retransmits": 1, "max_lifetime_ms": 1},
            {"max_retransmits": -1},
            {"max_lifetime_ms": 2**32},
            {"negotiated": 65535},
            {"protocol": "x" * 1025},
        ]
        for options in wrong:
            with pytest.raises(ParametersError):
                transport.open_channel("chat", **options)

    async def test_a_wish_for_no_layer(self, forwarder: Forwarder) -> None:
        transport = forwarder.add_transport()
        sender = transport.add_sender(transport.add_receiver(AUDIO), COPY)
        for layer in (Layer(-1, 0), Layer(0, 256)):
            with pytest.raises(ParametersError):
                sender.prefer(layer)

    async def test_an_encoding_that_the_track_does_not_have(self, forwarder: Forwarder) -> None:
        receiver = forwarder.add_transport().add_receiver(replace(AUDIO, encodings=(Encoding(rid="q"),)))
        receiver.request_keyframe("q")
        with pytest.raises(ParametersError, match="'h'"):
            receiver.request_keyframe("h")

    async def test_a_message_that_is_too_large(self, forwarder: Forwarder) -> None:
        with pytest.raises(LimitError) as raised:
            forwarder.add_transport().send_data("chat", bytes(256 * 1024 + 1))
        assert raised.value.limit == 256 * 1024

    async def test_a_source_of_another_forwarder(self, forwarder: Forwarder, config: Config) -> None:
        async with Forwarder(config) as other:
            theirs = other.add_transport()
            receiver = theirs.add_receiver(AUDIO)
            ours = forwarder.add_transport()
            with pytest.raises(ParametersError):
                ours.add_sender(receiver, COPY)
            with pytest.raises(ParametersError):
                ours.follow_data(theirs)
            with pytest.raises(ParametersError):
                ours.add_sender(ours.add_receiver(AUDIO), COPY).follow(receiver)


class TestEvents:
    async def test_states_come_in_order_from_the_call_on(self, forwarder: Forwarder, peer: Callable[[], Any]) -> None:
        events = forwarder.events()
        client = peer()
        client.channel("chat")
        transport = await client.connect(forwarder)
        transport.close()
        states = []
        async for event in events:
            if isinstance(event, TransportChanged):
                assert event.transport is transport
                states.append((event.state, event.reason))
                if event.state == "closed":
                    break
        assert states == [("connecting", "normal"), ("connected", "normal"), ("closed", "closed_by_owner")]

    async def test_every_reader_sees_everything_once(self, forwarder: Forwarder, peer: Callable[[], Any]) -> None:
        readers = [forwarder.events() for _ in range(3)]
        client = peer()
        client.channel("chat")
        await client.connect(forwarder)
        seen = []
        for reader in readers:
            events = []
            async for event in reader:
                events.append(event)
                if isinstance(event, ChannelOpened):
                    break
            seen.append(events)
        assert seen[0] == seen[1] == seen[2]
        assert [type(event).__name__ for event in seen[0]] == ["TransportChanged", "TransportChanged", "ChannelOpened"]

    async def test_a_slow_reader_is_told(self, forwarder: Forwarder, until: Any) -> None:
        slow, quick = forwarder.events(capacity=2), forwarder.events()
        transports = [forwarder.add_transport() for _ in range(5)]
        for transport in transports:
            transport.close()
        await until(lambda: all(transport.state == "closed" for transport in transports))
        for expected in transports[:2]:
            assert (await anext(slow)).transport is expected  # type: ignore[union-attr]
        with pytest.raises(LimitError) as raised:
            await anext(slow)
        assert raised.value.limit == 2
        for expected in transports:
            assert (await anext(quick)).transport is expected  # type: ignore[union-attr]

    async def test_an_iterator_that_is_dropped_takes_its_queue_along(self, forwarder: Forwarder) -> None:
        iterators = [forwarder.events() for _ in range(10)]
        assert len(forwarder._listeners) == 10
        del iterators
        gc.collect()
        assert len(forwarder._listeners) == 0

    async def test_taps_of_one_label_do_not_end_each_other(
        self, forwarder: Forwarder, peer: Callable[[], Any], until: Any
    ) -> None:
        client = peer()
        chat, other = client.channel("chat"), client.channel("other")
        first, second = forwarder.tap("chat"), forwarder.tap("chat")
        await client.connect(forwarder)
        await until(lambda: chat.readyState == other.readyState == "open")
        other.send("not tapped")
        chat.send("text")
        message = await anext(first)
        assert message == DataReceived(message.transport, "chat", False, b"text")
        await first.aclose()  # type: ignore[attr-defined]
        del first
        chat.send(b"bytes")
        assert [(await anext(second)).payload for _ in range(2)] == [b"text", b"bytes"]


class TestThreads:
    async def test_calls_from_many_threads(self, config: Config, until: Any) -> None:
        async with Forwarder(replace(config, workers=2)) as forwarder:

            def work(_: int) -> None:
                for _ in range(20):
                    transport = forwarder.add_transport()
                    receiver = transport.add_receiver(AUDIO)
                    sender = transport.add_sender(receiver, COPY)
                    sender.prefer(Layer(0, 0))
                    transport.open_channel("chat")
                    forwarder.stats()
                    sender.close()
                    receiver.close()
                    transport.close()

            with ThreadPoolExecutor(8) as pool:
                futures = [pool.submit(work, n) for n in range(16)]
                await until(lambda: all(future.done() for future in futures))
                for future in futures:
                    future.result()
            await until(lambda: forwarder.stats().transports == 0)
            await until(lambda: not forwarder._transports)

    async def test_closing_while_threads_call(self, config: Config) -> None:
        forwarder = Forwarder(config)
        await forwarder.__aenter__()
        started = threading.Barrier(5)
        ends: list[type[BaseException]] = []

        def work() -> None:
            started.wait()
            try:
                while True:
                    forwarder.add_transport().close()
            except RtpcoreError as error:
                ends.append(type(error))

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        await asyncio.to_thread(started.wait)
        await forwarder.close()
        for worker in workers:
            await asyncio.to_thread(worker.join)
        # Full is possible too: four threads against one worker.
        assert len(ends) == 4
        assert set(ends) <= {ClosedError, LimitError}


class TestGarbage:
    async def test_tracks_and_copies_live_as_long_as_their_transport(self, forwarder: Forwarder, until: Any) -> None:
        transport = forwarder.add_transport()
        transport.add_sender(transport.add_receiver(AUDIO), COPY)
        gc.collect()
        await until(lambda: len(forwarder._core.stats()["senders"]) == 1)
        assert len(forwarder._receivers) == 1
        transport.close()
        gc.collect()
        assert len(forwarder._receivers) == 0
        await until(lambda: not forwarder._core.stats()["senders"])

    async def test_a_transport_that_nobody_holds_goes_on(self, forwarder: Forwarder, peer: Callable[[], Any]) -> None:
        client = peer()
        client.channel("chat")
        await client.connect(forwarder)
        client.transport = None
        gc.collect()
        assert forwarder.stats().drops.get("not_connected", 0) == 0
        (transport,) = forwarder._transports.values()
        assert transport.state == "connected"

    def test_a_forwarder_that_is_forgotten_stops(self, config: Config, until: Any) -> None:
        before = threads()

        async def forget() -> weakref.ref[Forwarder]:
            forwarder = Forwarder(config)
            await forwarder.__aenter__()
            transport = forwarder.add_transport()
            transport.add_sender(transport.add_receiver(AUDIO), COPY)
            await until(lambda: threads() == before + 1)
            return weakref.ref(forwarder)

        forgotten = asyncio.run(forget())
        gc.collect()
        assert forgotten() is None
        assert threads() == before

    @pytest.mark.parametrize(
        "end",
        [
            "",
            "sys.exit(0)",
            "gc.collect(); del forwarder, transport",
            "threading.Thread(target=lambda: [forwarder.stats() for _ in iter(int, 1)], daemon=True).start()",
        ],
    )
    def test_the_interpreter_ends_without_close(self, end: str) -> None:
        program = textwrap.dedent(
            f"""
            import asyncio, gc, sys, threading
            from rtpcore import Config, Forwarder, Listen

            forwarder = Forwarder(Config(listen=Listen(("127.0.0.1",), tcp_port=0), workers=2))
            loop = asyncio.new_event_loop()
            loop.run_until_complete(forwarder.__aenter__())
            events = forwarder.events()
            tap = forwarder.tap("chat")
            transport = forwarder.add_transport()
            {end}
            """
        )
        # ResourceWarning would be the loop's: it is left open on purpose.
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


async def test_descriptions_do_not_change_with_time(forwarder: Forwarder) -> None:
    transport = forwarder.add_transport()
    first = transport.local
    assert first == transport.local
    assert first.candidates == forwarder.candidates
    transport.restart_ice()
    assert transport.local.ice != first.ice
    assert transport.local.dtls == first.dtls


async def test_no_two_transports_share_credentials(forwarder: Forwarder) -> None:
    transports = [forwarder.add_transport() for _ in range(50)]
    assert len({transport.local.ice.ufrag for transport in transports}) == 50
    assert len({transport.local.ice.pwd for transport in transports}) == 50
    assert len({transport.id for transport in transports}) == 50


async def test_a_peer_without_a_fingerprint_that_can_be_checked(forwarder: Forwarder, peer: Callable[[], Any]) -> None:
    client = peer()
    client.channel("chat")
    offer = sdp.parse(await client.offer())
    weak = replace(offer.transport.dtls, fingerprints=())
    with pytest.raises(ParametersError, match="fingerprint"):
        forwarder.add_transport(replace(offer.transport, dtls=weak))
    assert not [transport for transport in forwarder._transports.values() if not transport._is_closed]
