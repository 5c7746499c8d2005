"""What a forwarding unit in pure Python costs: the same packets by aiortc, the library that our users come from.

    python -m bench.aiortc_unit passthrough raw relay       lines of `name value unit`, like src/bin/forward.rs

Three units, each in a process of its own, whose CPU time is charged to the packets that it sends:

- `passthrough` is the unit that can be built on aiortc: real peer connections, ICE and DTLS included, with the decoder
  taken out. What aiortc's receiver would reassemble and decode goes to the transport of each subscriber instead, under
  its own SSRC, numbers and extensions. It answers no NACK and asks for no keyframe: a complete one costs more.
- `raw` is less than a unit: aiortc's packet class, libsrtp and one asyncio endpoint, in the shortest loop. It bounds
  what Python can do, however the unit is built.
- `relay` is what aiortc's documentation offers, `MediaRelay`: it decodes, and encodes again for each subscriber. Its
  frames are of 640 x 480 pixels and of about as many bytes as those of the others.

The core takes turns with the first two, so that a slow spell of the machine hits all; `core_cpu_us` is its figure then.
The peers are this process. They use AES-128-GCM, like the core beside which this is held, where aiortc knows it.
"""

import argparse
import asyncio
import contextlib
import functools
import json
import os
import random
import socket
import statistics
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from typing import Any, cast

import aioice.ice
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.codecs import vpx
from aiortc.contrib.media import MediaRelay
from aiortc.rtcdtlstransport import SRTP_PROFILES
from aiortc.rtp import HeaderExtensionsMap, RtpPacket
from av import VideoFrame
from bench.instructions import ROOT, build
from pylibsrtp import Policy, Session

# As in src/room.rs: the same packets for every unit.
SUBSCRIBERS = 100
PAYLOAD = 1100
FRAME_PACKETS = 8
CLOCK_STEP = 3000
VP8 = 96

# How busy a unit is while it is measured, as in src/bin/forward.rs.
LOAD = 0.7
TURNS = 9
QUICK_TURNS = 3
TURN_SECONDS = 1.0
# As many transcoders as a core has time for, or nearly so.
RELAY_SUBSCRIBERS = 4

Message = dict[str, Any]


# The units, each in a process of its own.


@dataclass(slots=True)
class Copy:
    """One subscriber's copy of the track."""

    send: Callable[[bytes], Awaitable[None]]
    extensions: HeaderExtensionsMap
    payload_type: int
    ssrc: int
    seq_offset: int
    timestamp_offset: int


class Passthrough:
    """aiortc's peer connections, with a packet's way through them cut short."""

    def __init__(self) -> None:
        self.connections: list[RTCPeerConnection] = []
        self.copies: list[Copy] = []
        self.sent = 0

    async def answer(self, role: str, offer: str) -> Message:
        connection = peer_connection()
        self.connections.append(connection)
        await connection.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
        transceiver = connection.getTransceivers()[0]
        if role == "publish":
            self.take(transceiver.receiver)
        else:
            self.give(connection)
        await connection.setLocalDescription(await connection.createAnswer())
        return {"answer": connection.localDescription.sdp}

    def take(self, receiver: RTCRtpReceiver) -> None:
        receiver._handle_rtp_packet = self.forward  # type: ignore[method-assign]  # the only way past the decoder

    def give(self, connection: RTCPeerConnection) -> None:
        sender = connection.addTrack(Silent())
        number = len(self.copies)

        @connection.on("connectionstatechange")
        def changed() -> None:
            if connection.connectionState == "connected":
                self.copies.append(
                    Copy(
                        send=sender.transport._send_rtp,
                        extensions=sender.transport._rtp_header_extensions_map,
                        payload_type=payload_type(connection),
                        ssrc=sender._ssrc,
                        seq_offset=number,
                        timestamp_offset=number * 1000,
                    )
                )

    async def forward(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        seq, timestamp = packet.sequence_number, packet.timestamp
        for copy in self.copies:
            packet.ssrc = copy.ssrc
            packet.payload_type = copy.payload_type
            packet.sequence_number = (seq + copy.seq_offset) & 0xFFFF
            packet.timestamp = (timestamp + copy.timestamp_offset) & 0xFFFFFFFF
            await copy.send(packet.serialize(copy.extensions))
        self.sent += len(self.copies)

    async def packets(self) -> int:
        return self.sent

    async def is_ready(self) -> bool:
        return all(connection.connectionState == "connected" for connection in self.connections)


class Relay(Passthrough):
    """`MediaRelay`, as in aiortc's examples."""

    def __init__(self) -> None:
        super().__init__()
        self.relay = MediaRelay()
        self.track: MediaStreamTrack | None = None
        self.senders: list[RTCRtpSender] = []

    def take(self, receiver: RTCRtpReceiver) -> None:
        self.track = receiver.track

    def give(self, connection: RTCPeerConnection) -> None:
        assert self.track is not None, "the publisher comes first"
        self.senders.append(connection.addTrack(self.relay.subscribe(self.track)))

    async def packets(self) -> int:
        reports = [await sender.getStats() for sender in self.senders]
        return sum(stats.packetsSent for report in reports for stats in report.values() if stats.type == "outbound-rtp")


class Raw(asyncio.DatagramProtocol):
    """Parse, number anew, protect, send; and nothing else."""

    def __init__(self, subscribers: list[tuple[str, int]]) -> None:
        self.session = Session(policy(Policy.SSRC_ANY_INBOUND))
        self.subscribers = [(address, Session(policy(Policy.SSRC_ANY_OUTBOUND))) for address in subscribers]
        self.sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        packet = RtpPacket.parse(self.session.unprotect(data))
        seq = packet.sequence_number
        for number, (address, session) in enumerate(self.subscribers):
            packet.ssrc = number
            packet.sequence_number = (seq + number) & 0xFFFF
            self.transport.sendto(session.protect(packet.serialize()), address)
        self.sent += len(self.subscribers)

    async def packets(self) -> int:
        return self.sent

    async def is_ready(self) -> bool:
        return True


class Silent(MediaStreamTrack):
    """A track for a sender whose packets come from elsewhere: without one it looks for one fifty times a second."""

    kind = "video"

    async def recv(self) -> Any:
        await asyncio.Event().wait()


async def serve(kind: str) -> None:
    """Be a unit: a line of JSON in is a question, a line out its answer."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    unit: Passthrough | Raw | None = {"passthrough": Passthrough, "relay": Relay}.get(kind, lambda: None)()
    while line := await reader.readline():
        question = json.loads(line)
        answer: Message = {}
        if "offer" in question:
            assert isinstance(unit, Passthrough), "only these have connections"
            answer = await unit.answer(question["role"], question["offer"])
        elif "ports" in question:
            make = functools.partial(Raw, [("127.0.0.1", port) for port in question["ports"]])
            transport, unit = await loop.create_datagram_endpoint(make, local_addr=("127.0.0.1", 0))
            answer = {"port": transport.get_extra_info("sockname")[1]}
        else:
            assert unit is not None, "there is a unit"
            cpu = time.process_time_ns()
            answer = {"cpu_ns": cpu, "packets": await unit.packets(), "is_ready": await unit.is_ready()}
        print(json.dumps(answer), flush=True)


# The peers and the measurement.


class Process:
    """A unit, seen from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls, kind: str) -> Any:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bench.aiortc_unit", "--serve", kind),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            yield cls(process)
        finally:
            process.kill()
            await process.wait()

    async def ask(self, **question: Any) -> Message:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question).encode() + b"\n")
        answer = await self.process.stdout.readline()
        assert answer, "the unit has ended"
        message: Message = json.loads(answer)
        return message

    async def become_ready(self) -> None:
        while not (await self.ask())["is_ready"]:  # noqa: ASYNC110  # another process sets no event here
            await asyncio.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("units", nargs="*", help="passthrough, raw, relay", default=["passthrough", "raw", "relay"])
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    # aioice leaves loopback out; the core is measured there, and a machine may have nothing else.
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    # Whoever is deaf gives no consent.
    aioice.ice.CONSENT_INTERVAL = 3600
    # Frames of the relay as large as everybody's, at 30 a second.
    vpx.DEFAULT_BITRATE = vpx.MAX_BITRATE = 30 * 8 * FRAME_PACKETS * PAYLOAD
    # The core's cipher; versions before 1.10 know AES-CM alone.
    SRTP_PROFILES.sort(key=lambda profile: profile.openssl_profile != b"SRTP_AEAD_AES_128_GCM")
    go_first()
    if arguments.serve:
        asyncio.run(serve(arguments.serve))
        return
    asyncio.run(compare(arguments.units, QUICK_TURNS if arguments.quick else TURNS))


async def compare(units: list[str], turns: int) -> None:
    """Measure, the contenders in turns; print medians, and medians of ratios."""
    costs: dict[str, list[float]] = {"core": []}
    async with contextlib.AsyncExitStack() as stack:
        contenders = {"core": await core(stack)}
        if "passthrough" in units:
            contenders["passthrough"] = await passthrough(stack)
        if "raw" in units:
            contenders["raw"] = await raw(stack)
        for _ in range(turns):
            for name, turn in contenders.items():
                costs.setdefault(name, []).append(await turn())
    if "relay" in units:
        # Its encoders never rest, so it runs alone.
        costs["relay"] = [await relay(turns)] * turns
    for name, values in costs.items():
        label = "core" if name == "core" else f"aiortc_{name}"
        cost_us = statistics.median(values)
        print(f"{label}_cpu_us {cost_us:.6f} us")
        print(f"{label}_packets_per_core {1e6 / cost_us:.6f} 1/s")
    for name, values in costs.items():
        if name != "core":
            ratio = statistics.median(theirs / ours for theirs, ours in zip(values, costs["core"], strict=True))
            print(f"packets_per_core_to_aiortc_{name} {ratio:.6f} x")


def go_first() -> None:
    """Ask for the processor before everybody else, as the core's benchmark does; it takes a privilege."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


Turn = Callable[[], Awaitable[float]]


async def core(stack: contextlib.AsyncExitStack) -> Turn:
    """The core's turns, by its own benchmark."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(build("forward"), "turns", stdin=pipe, stdout=pipe)
    stack.push_async_callback(process.wait)
    stack.callback(process.kill)
    assert process.stdin is not None
    assert process.stdout is not None
    reader, writer = process.stdout, process.stdin
    while await reader.readline() != b"ready\n":
        assert not reader.at_eof(), "the benchmark of the core runs"

    async def turn() -> float:
        writer.write(b"\n")
        return float(await reader.readline()) / 1000

    return turn


async def passthrough(stack: contextlib.AsyncExitStack) -> Turn:
    unit = await stack.enter_async_context(Process.start("passthrough"))
    publisher = await join(stack, unit, "publish")
    audience = [await join(stack, unit, "play") for _ in range(SUBSCRIBERS)]
    await unit.become_ready()
    # The last of them listens; the others are deaf, like those of the core.
    heard = 0

    async def hear(packet: RtpPacket, arrival_time_ms: int) -> None:
        nonlocal heard
        assert len(packet.payload) == PAYLOAD, "it came as it was sent"
        heard += 1

    audience[-1].getReceivers()[0]._handle_rtp_packet = hear  # type: ignore[method-assign]
    for connection in audience[:-1]:
        go_deaf(connection)
    sender = publisher.getSenders()[0]
    source = packets(payload_type(publisher), sender._ssrc)

    async def send_frame() -> None:
        for _ in range(FRAME_PACKETS):
            packet = next(source)
            packet.extensions.mid = "0"
            packet.extensions.abs_send_time = 0x123456
            await sender.transport._send_rtp(packet.serialize(sender.transport._rtp_header_extensions_map))

    measured = await turns_of(unit, send_frame)

    async def turn() -> float:
        nonlocal heard
        before, heard = (await unit.ask())["packets"], 0
        cost = await measured()
        sent = ((await unit.ask())["packets"] - before) // SUBSCRIBERS
        assert heard > 0.95 * sent, f"of {sent} packets the listener heard {heard}"
        return cost

    return turn


async def raw(stack: contextlib.AsyncExitStack) -> Turn:
    unit = await stack.enter_async_context(Process.start("raw"))
    sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(SUBSCRIBERS)]
    for deaf in sockets:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        deaf.bind(("127.0.0.1", 0))
    to = ("127.0.0.1", (await unit.ask(ports=[deaf.getsockname()[1] for deaf in sockets]))["port"])
    session = Session(policy(Policy.SSRC_ANY_OUTBOUND))
    source = packets(VP8, 7)

    async def send_frame() -> None:
        for _ in range(FRAME_PACKETS):
            sockets[0].sendto(session.protect(next(source).serialize()), to)

    return await turns_of(unit, send_frame)


async def turns_of(unit: Process, send_frame: Callable[[], Awaitable[None]]) -> Turn:
    """CPU microseconds per packet out, at a load that leaves the unit time to rest."""
    fan_out = SUBSCRIBERS * FRAME_PACKETS

    async def turn(frames: int, pace: float) -> float:
        before = await unit.ask()
        start = time.monotonic()
        for n in range(frames):
            await send_frame()
            await asyncio.sleep(start + (n + 1) * pace - time.monotonic())
        # The answer comes after what it is asked about: the last frame may still be under way.
        after = before
        while after["packets"] < before["packets"] + frames * fan_out:
            await asyncio.sleep(0.01)
            after = await unit.ask()
            assert time.monotonic() < start + 2 * frames * pace + 5, "every packet is forwarded"
        return float(after["cpu_ns"] - before["cpu_ns"]) / 1000 / (frames * fan_out)

    pace = await turn(10, 100e-6 * fan_out) * 1e-6 * fan_out / LOAD
    return lambda: turn(int(TURN_SECONDS / pace) + 1, pace)


async def relay(seconds: int) -> float:
    async with Process.start("relay") as unit, contextlib.AsyncExitStack() as stack:
        await join(stack, unit, "publish", Camera())
        for _ in range(RELAY_SUBSCRIBERS):
            go_deaf(await join(stack, unit, "play"))
        await unit.become_ready()
        # Bitrates settle.
        await asyncio.sleep(2)
        before = await unit.ask()
        await asyncio.sleep(seconds)
        after = await unit.ask()
        sent = after["packets"] - before["packets"]
        print(f"aiortc_relay_frame_packets {sent / (30 * seconds * RELAY_SUBSCRIBERS):.6f} packets")
        return float(after["cpu_ns"] - before["cpu_ns"]) / 1000 / float(sent)


async def join(
    stack: contextlib.AsyncExitStack, unit: Process, role: str, track: MediaStreamTrack | None = None
) -> RTCPeerConnection:
    """A peer that has made its connection to the unit."""
    connection = peer_connection()
    stack.push_async_callback(connection.close)
    if role == "publish":
        connection.addTransceiver(track or Silent(), direction="sendonly")
    else:
        connection.addTransceiver("video", direction="recvonly")
    connected = asyncio.Event()

    @connection.on("connectionstatechange")
    def changed() -> None:
        if connection.connectionState == "connected":
            connected.set()

    await connection.setLocalDescription(await connection.createOffer())
    answer = await unit.ask(role=role, offer=connection.localDescription.sdp)
    await connection.setRemoteDescription(RTCSessionDescription(sdp=answer["answer"], type="answer"))
    await asyncio.wait_for(connected.wait(), 20)
    return connection


def peer_connection() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


def payload_type(connection: RTCPeerConnection) -> int:
    """What was agreed on first."""
    number = connection.getTransceivers()[0]._codecs[0].payloadType
    assert number is not None, "the connection is negotiated"
    return number


def go_deaf(connection: RTCPeerConnection) -> None:
    """Read no more, and let the kernel keep nothing: a subscriber whose own work is on another machine."""
    ice = connection.getTransceivers()[0].receiver.transport.transport._connection
    for protocol in ice._protocols:
        # The event loop's, not the base class that aioice names.
        transport: Any = protocol.transport
        transport.pause_reading()
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)


def policy(direction: int) -> Policy:
    """The keys of the raw unit's peers, all the same: nobody is kept out."""
    return Policy(key=bytes(range(28)), ssrc_type=direction, srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM)


def packets(payload_type: int, ssrc: int) -> Iterator[RtpPacket]:
    """The publisher's packets, as src/room.rs makes them: VP8 with picture ids, in frames of eight."""
    body = bytes(n * 31 & 0xFF for n in range(PAYLOAD - 6))
    for n in count():
        frame, place = divmod(n, FRAME_PACKETS)
        start = 0x90 if place == 0 else 0x80
        descriptor = struct.pack("!BBHBB", start, 0xF0, frame & 0x7FFF | 0x8000, frame & 0xFF, 0)
        yield RtpPacket(
            payload_type=payload_type,
            marker=int(place == FRAME_PACKETS - 1),
            sequence_number=(1000 + n) & 0xFFFF,
            timestamp=frame * CLOCK_STEP & 0xFFFFFFFF,
            ssrc=ssrc,
            payload=descriptor + body,
        )


class Camera(MediaStreamTrack):
    """640 x 480 at 30 frames a second: a texture that moves, worth the bits that its encoder is given."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.start = time.monotonic()
        self.frames = 0
        # Twice a plane, so that a frame is a window that wanders over it.
        self.texture = bytes(64 + (byte & 0x3F) for byte in random.Random(1).randbytes(2 * 640 * 480))

    async def recv(self) -> VideoFrame:
        await asyncio.sleep(self.start + self.frames / 30 - time.monotonic())
        frame = VideoFrame(640, 480, "yuv420p")
        offset = self.frames * (3 * 640 + 5) % (640 * 480)
        for plane in frame.planes:
            plane.update(self.texture[offset : offset + plane.buffer_size])
        frame.pts = self.frames * CLOCK_STEP
        frame.time_base = Fraction(1, 90_000)
        self.frames += 1
        return frame


if __name__ == "__main__":
    main()
