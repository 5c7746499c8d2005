"""Writes the seeds that were not found by fuzzing: small inputs that reach what random bytes take long to reach.

``python fuzz/make_seeds.py`` writes ``seeds/TARGET/NAME``, the same files every time. What a target makes of its input
is in ``targets/TARGET.rs``.
"""

from pathlib import Path

SEEDS = Path(__file__).parent / "seeds"


def short(value: int) -> bytes:
    """Two bytes."""
    return value.to_bytes(2, "big")


def word(value: int) -> bytes:
    """Four bytes."""
    return value.to_bytes(4, "big")


def chunk(data: bytes) -> bytes:
    """Bytes behind their length, as the targets take them."""
    return bytes([len(data)]) + data


def stream(*packets: tuple[int, bytes] | tuple[int, bytes, bytes]) -> bytes:
    """Payloads of one stream: flags, payload, perhaps a dependency descriptor."""
    return b"".join(
        bytes([flags | 4 * len(rest)]) + b"".join(map(chunk, (data, *rest))) for flags, data, *rest in packets
    )


def bits(*fields: tuple[int, int]) -> bytes:
    """Values with their widths in bits, filled up to a byte."""
    text = "".join(f"{value:0{width}b}" for value, width in fields)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def structure() -> bytes:
    """A dependency descriptor with a structure of three temporal layers (AV1 RTP specification, appendix A.4)."""
    layers = [(0, 2), (1, 2), (1, 2), (3, 2)]  # the same, the next temporal layer, the next, no more
    indications = [(value, 2) for value in (2, 2, 2, 2, 2, 2, 0, 1, 2, 0, 0, 1)]
    differences = [(0, 1), (1, 1), (3, 4), (0, 1), (1, 1), (1, 4), (0, 1), (1, 1), (0, 4), (0, 1)]
    chains = [(1, 2), *[(value, 4) for value in (0, 4, 2, 1)]]
    size = [(1, 1), (639, 16), (359, 16)]
    head = [(1, 1), (1, 1), (0, 6), (1, 16), (1, 1), (0, 4), (0, 6), (2, 5)]
    return bits(*head, *layers, *indications, *differences, *chains, *size)


def feedback(base: int, count: int, reference: int, *deltas: int) -> bytes:
    """Transport-wide feedback as the estimator's target takes it: every packet received, so many times 250 us apart."""
    fci = short(base) + short(count) + word(reference << 8) + short(1 << 13 | count) + bytes(deltas)
    return b"\x03" + chunk(b"\x0f\xcd" + word(1) + word(2) + fci)


def fec(kind: int, data: bytes) -> bytes:
    """A step of the target `fec`: 0 a packet, 1 FlexFEC, 2 ULPFEC, 3 a packet to be protected and its facts above."""
    return bytes([kind]) + chunk(data)


def media(number: int, body: bytes) -> bytes:
    """A packet of the stream that `fec` repairs."""
    return b"\x80\x60" + short(number) + bytes(4) + word(7) + body


def client_hello(suites: tuple[int, ...], *extensions: tuple[int, bytes], cut_at: int = 200) -> bytes:
    """A ClientHello (RFC 6347 §4.2) in records of at most so many bytes of it, each a datagram of its own."""
    block = b"".join(short(kind) + short(len(content)) + content for kind, content in extensions)
    body = b"\xfe\xfd" + bytes(32) + b"\0\0" + short(2 * len(suites)) + b"".join(map(short, suites)) + b"\x01\0"
    body += short(len(block)) + block
    datagrams = b""
    for number, start in enumerate(range(0, len(body), cut_at)):
        part = body[start : start + cut_at]
        message = b"\x01" + word(len(body))[1:] + short(0) + word(start)[1:] + word(len(part))[1:] + part
        record = b"\x16\xfe\xff" + bytes(2) + number.to_bytes(6, "big") + short(len(message)) + message
        datagrams += b"\x01" + chunk(record)
    return datagrams


GROUPS = (10, bytes.fromhex("0006001d00170018"))
SIGNATURES = (13, bytes.fromhex("0006040308040401"))
SRTP = (14, bytes.fromhex("00040007000100"))
MASTER_SECRET = (23, b"")
BROWSER = client_hello((0xC02B, 0xC02F), GROUPS, (11, b"\x01\0"), SIGNATURES, SRTP, MASTER_SECRET, (0xFF01, b"\0"))
OPENSSL_EXTENSIONS = (GROUPS, (11, b"\x03\0\x01\x02"), SIGNATURES, SRTP, (22, b""), MASTER_SECRET)

STRUCTURE = structure()
DELTA = bytes([0xC1, 0x00, 0x02])
CUSTOM = bits((1, 1), (1, 1), (1, 6), (3, 16), (0, 1), (15, 4), (5, 3), *[(1, 2)] * 3, (1, 2), (3, 4), (0, 2), (2, 8))

VP8_KEY = bytes.fromhex("90 e0 8001 22 20".replace(" ", "")) + bytes.fromhex(
    "10 02 00 9d012a 8002 e001".replace(" ", "")
)
VP8_DELTA = bytes.fromhex("90e0800222e0") + b"\x11\x02\x00data"
VP9_KEY = bytes.fromhex("8a 8001 00 00 18 0280 01e0 0500 02d0".replace(" ", "")) + b"data"
VP9_DELTA = bytes.fromhex("e4 8002 20 01".replace(" ", "")) + b"data"
AV1_KEY = bytes.fromhex("18 0a 0b 00000024c4dfff0068 10 32 08".replace(" ", "")) + b"frame"
AV1_DELTA = bytes.fromhex("10 32 08".replace(" ", "")) + b"frame"
H264_STAP = b"\x78" + short(4) + b"\x67\x42\xc0\x1f" + short(3) + b"\x68\xce\x3c" + short(3) + b"\x65\x88\x84"
H264_FU = b"\x7c\x85data"
H264_DELTA = b"\x61\xe0data"
H265_AP = b"\x60\x01" + short(4) + b"\x40\x01xx" + short(4) + b"\x42\x01xx" + short(4) + b"\x26\x01xx"
H265_FU = b"\x62\x01\x93data"
OPUS = b"\x78" + bytes(20)
RED = bytes([0x80 | 111]) + bytes.fromhex("0f0005") + b"\x6f" + b"older" + b"newest"


def rtp(*, payload_type: int = 96, extension: bytes = b"", payload: bytes = b"payload", first: int = 0x80) -> bytes:
    """An RTP packet; the extension with its profile and length in front."""
    head = bytes([first | (0x10 if extension else 0), payload_type]) + short(1) + word(2) + word(3)
    return head + extension + payload


def one_byte(*elements: tuple[int, bytes]) -> bytes:
    """RFC 8285 §4.2."""
    block = b"".join(bytes([number << 4 | (len(value) - 1)]) + value for number, value in elements)
    block += bytes(-len(block) % 4)
    return b"\xbe\xde" + short(len(block) // 4) + block


def two_byte(*elements: tuple[int, bytes]) -> bytes:
    """RFC 8285 §4.3."""
    block = b"".join(bytes([number, len(value)]) + value for number, value in elements)
    block += bytes(-len(block) % 4)
    return b"\x10\x00" + short(len(block) // 4) + block


def rtcp(packet_type: int, format_: int, body: bytes) -> bytes:
    """RFC 3550 §6.4.1."""
    body += bytes(-len(body) % 4)
    return bytes([0x80 | format_, packet_type]) + short(len(body) // 4) + body


PARTIES = word(1) + word(2)
BLOCK = word(3) + b"\x10\xff\xff\xfe" + word(0x10005) + word(6) + word(7) + word(8)
SENDER_REPORT = rtcp(200, 1, word(1) + bytes(8) + word(9) + word(10) + word(11) + BLOCK)
SDES = rtcp(202, 1, word(1) + b"\x01\x05cname\x0f\x010\x00")
FEEDBACK = rtcp(205, 15, PARTIES + short(7) + short(5) + b"\x00\x01\x02\x03" + short(0xD444) + b"\x10\x20\xff\x00\x30")
REPORTS = {
    "sender_report": SENDER_REPORT,
    "receiver_report": rtcp(201, 1, word(1) + BLOCK),
    "compound": SENDER_REPORT + SDES + rtcp(206, 1, PARTIES),
    "bye": rtcp(203, 2, word(1) + word(2) + b"\x04done"),
    "app": rtcp(204, 3, word(1) + b"namedata"),
    "nack": rtcp(205, 1, PARTIES + short(65530) + short(0x8001)),
    "tmmbr": rtcp(205, 3, PARTIES + word(3) + word(0x12345678)),
    "transport_cc": FEEDBACK,
    "transport_cc_padded": bytes([0xAF, *FEEDBACK[1:-1], 1]),
    "fir": rtcp(206, 4, PARTIES + word(3) + b"\x07\x00\x00\x00"),
    "remb": rtcp(206, 15, PARTIES + b"REMB" + b"\x02\x0b\xff\xff" + word(3) + word(4)),
    "xr": rtcp(
        207, 0, word(1) + b"\x04\x00" + short(2) + bytes(8) + b"\x05\x00" + short(3) + word(1) + word(2) + word(3)
    ),
}


def check(user: bytes, attributes: bytes = b"") -> bytes:
    """A binding request (RFC 8489 §5)."""
    body = short(6) + short(len(user)) + user + bytes(-len(user) % 4) + attributes
    return short(1) + short(len(body)) + word(0x2112A442) + bytes(range(12)) + body


INTEGRITY = short(8) + short(20) + bytes(20)
ATTRIBUTES = short(0x24) + short(4) + word(1) + short(0x802A) + short(8) + bytes(8) + INTEGRITY
FINGERPRINT = short(0x8028) + short(4) + word(0)


def sent(number: int, flags: int, payload: bytes, dependency: bytes | None = None, step: int = 0) -> bytes:
    """One packet of the publisher's stream ``number`` on the receive path."""
    tail = b"" if dependency is None else chunk(dependency)
    return bytes([1 | number << 3, flags | (0 if dependency is None else 1), step]) + chunk(payload) + tail


def path(codec: int, key: bytes, delta: bytes, dependency: tuple[bytes | None, bytes | None] = (None, None)) -> bytes:
    """A keyframe, deltas, a hole, a request for what was lost, a late packet, audio, time, wishes."""
    first, later = dependency
    packets = [
        sent(0, 2 | 4 | 16, key, first),
        sent(2, 2 | 4 | 16, key, first),
        *[sent(0, 2 | 4, delta, later) for _ in range(4)],
        sent(0, 2 | 4, delta, later, step=202),
        sent(1, 2 | 16, short(5) + delta),
        b"\x06" + short(40),
        sent(4, 2 | 64, RED),
        sent(4, 2, OPUS),
        bytes([5 | 1 << 3 | 1 << 5]) + chunk(b"\x01\x01\x00\x01"),
        bytes([5 | 1 << 3 | 2 << 5]) + chunk(b""),
        bytes([5]) + chunk(SENDER_REPORT[:28] + SDES),
        b"\x07\x10",
        b"\x06" + short(1000),
        b"\x07\x00",
        bytes([7 | 1 << 3, 0x50]),
        bytes([7 | 2 << 3, 0x08]),
        sent(5, 2 | 4 | 16, key, first),
        bytes([7 | 4 << 3, 0x00]),
        bytes([7 | 5 << 3, 0x00]),
        sent(0, 2 | 4 | 16, key, first),
        sent(6, 0, b"nobody"),
        b"\x00" + chunk(rtp()),
        b"\x18" + chunk(check(b"a:b")),
        sent(0, 2 | 4 | 8, delta[:-1] + b"\x01", later, step=255),
        b"\x06" + short(60_000),
    ]
    return bytes([codec, codec % 3]) + b"".join(packets)


def varint(value: int) -> bytes:
    """A number of protobuf's."""
    return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])


def message(*fields: tuple[int, bytes | int]) -> bytes:
    """A message of protobuf's: numbers, and texts or messages."""
    return b"".join(
        varint(number << 3) + varint(value)
        if isinstance(value, int)
        else varint(number << 3 | 2) + varint(len(value)) + value
        for number, value in fields
    )


USER = message((1, b"PA_x"), (5, b"x"), (2, b"payload"), (3, b"PA_bob"), (6, b"bob"), (4, b"topic"))
TEXT_HEADER = message((1, b"stream"), (3, b"topic"), (9, message((1, 1), (5, 0))))
PACKETS = {
    "user": message((1, 1), (4, b"x"), (5, b"bob"), (5, b"carol"), (17, b"PA_x"), (16, 300), (2, USER), (99, b"newer")),
    "transcription": message((4, b"bob"), (7, message((2, b"bob"), (3, b"TR_x")))),
    "chat": message((4, b"bob"), (9, message((1, b"id"), (4, b"hi"), (6, 0)))),
    "text": message((4, b"bob"), (13, TEXT_HEADER)),
    "file": message((4, b"bob"), (13, message((10, message((1, b"name")))))),
    "metrics": message((8, message((1, 1)))),
    "rpc_ack": message((11, message((1, b"request")))),
    "rpc_response": message((12, message((1, b"request"), (2, b"payload")))),
    "two": message((7, b""), (2, USER)),
}


SUM = bytes(a ^ b for a, b in zip(b"one\0\0", b"three", strict=True))
FLEXFEC = bytes([0, 0, 0, 3 ^ 5]) + bytes(4) + b"\1\0\0\0" + word(7) + short(1)
ULPFEC = bytes(2) + short(1) + bytes(4) + short(3 ^ 5) + short(5)


def seeds() -> dict[str, dict[str, bytes]]:
    """Everything, by target and name."""
    open_ = b"\x03\x00\x01\x00" + word(0) + short(5) + short(1) + b"labelp"
    extensions = [(1, b"0"), (2, b"h"), (3, b"h"), (4, b"\x85"), (5, b"abc"), (6, short(7)), (7, bytes(8)), (8, b"abc")]
    return {
        "vp8": {
            "stream": stream((1, VP8_KEY), (0, VP8_DELTA), (1, VP8_DELTA)),
            "short_picture_id": stream((1, bytes.fromhex("90e00122e0") + b"\x11data")),
            "bare": stream((1, b"\x10" + VP8_KEY[6:]), (1, b"\x00data")),
        },
        "vp9": {
            "stream": stream((1, VP9_KEY), (1, VP9_DELTA), (0, VP9_DELTA)),
            "flexible": stream((1, bytes.fromhex("f80122030400") + b"data")),
        },
        "av1": {
            "stream": stream((1, AV1_KEY), (1, AV1_DELTA)),
            "described": stream((1, AV1_KEY, STRUCTURE), (1, AV1_DELTA, DELTA), (3, AV1_DELTA, DELTA)),
        },
        "h264": {"stream": stream((1, H264_STAP), (0, H264_FU), (3, b"\x7c\x45data"), (1, H264_DELTA))},
        "h265": {"stream": stream((1, H265_AP), (0, H265_FU), (1, b"\x02\x01data"))},
        "opus": {"packet": OPUS, "dtx": b"\xf8", "counted": b"\x03\x86" + bytes(10)},
        "red": {
            "one": RED,
            "two": b"\xef\x1e\x00\x05" + RED[:4] + b"\x6f" + b"oldestolder" + b"newest",
            "none": b"\x6fx",
        },
        "dependency_descriptor": {
            "structure": b"\x01\x00\x01" + chunk(STRUCTURE) + b"\x03\xff\xff" + chunk(DELTA),
            "bare": b"\x01\x00\x01" + chunk(DELTA),
            "custom": b"\x01\x00\x01" + chunk(STRUCTURE) + b"\x03\x00\x07" + chunk(CUSTOM),
        },
        "demux": {"rtp": rtp(), "rtcp": SENDER_REPORT, "stun": check(b"a:b"), "dtls": b"\x16\xfe\xfd" + bytes(20)},
        "rtp": {
            "plain": rtp(),
            "one_byte": rtp(extension=one_byte(*extensions)),
            "two_byte": rtp(extension=two_byte(*extensions, (200, bytes(30)), (15, b""))),
            "csrcs_and_padding": rtp(first=0xA3, payload=bytes(12) + b"payload" + b"\x00\x00\x03"),
            "reserved_id": rtp(extension=one_byte((1, b"0"), (15, b"x"), (2, b"h"))),
        },
        "rtcp": REPORTS,
        "bwe": {
            # Ten rounds of four packets 16 ms apart, each answered; something more is wanted, then silence.
            "steady": b"\x06\x3f\xff"
            + b"".join(b"\x41\x04\xb0" * 4 + feedback(1 + 4 * n, 4, n, 0 if n else 40, 64, 64, 64) for n in range(10))
            + b"\xff" * 30,
            "lies": b"\x41\x04\xb0" * 4
            + feedback(1, 4, 1, 0, 64, 64, 64)
            + feedback(3, 4, 1, 0, 64, 64, 64)
            + feedback(0x8001, 1, 1, 0)
            + feedback(1, 1, 0x800000, 0),
            "remb": b"\x03" + chunk(b"\x0f\xce" + word(1) + word(0) + b"REMB" + b"\x01\x0b\x71\xb0" + word(9)),
        },
        "dcep": {"open": open_, "unordered": b"\x03\x81" + open_[2:], "ack": b"\x02"},
        "envelope": {
            f"{name}_{flags}": bytes([flags]) + packet
            for name, packet in PACKETS.items()
            for flags in ((0, 1, 3, 6) if name in ("user", "chat", "text") else (1,))
        },
        "srtp": {
            str(profile): bytes([profile])
            + b"".join(bytes([1]) + chunk(b"payload") + short(step) for step in (1, 2, 0x7FFF, 0x7FFF, 0x7FFF))
            + bytes([5])
            + chunk(b"late")
            + short(3)
            + bytes([9])
            + chunk(b"damaged")
            + short(1)
            + short(100)
            + bytes([3])
            + chunk(b"report")
            + bytes([11])
            + chunk(b"report")
            + bytes([0])
            + chunk(rtp())
            for profile in range(3)
        },
        "dtls": {
            "browser": BROWSER,
            "openssl": client_hello((0xC02B, 0x00FF), *OPENSSL_EXTENSIONS),
            "openssl_cut": client_hello((0xC02B, 0x00FF), *OPENSSL_EXTENSIONS, cut_at=40),
        },
        "fec": {
            # The sum of "one" and "three", packets 1 and 3.
            "flexfec": bytes([0]) + fec(0, media(1, b"one")) + fec(1, FLEXFEC + b"\xd0\0" + SUM),
            "flexfec_first": bytes([0]) + fec(1, FLEXFEC + b"\xd0\0" + SUM) + fec(0, media(3, b"three")),
            "flexfec_long": bytes([0]) + fec(1, FLEXFEC + b"\x50\0\x80\0\0\1" + SUM),
            "flexfec_longest": bytes([0]) + fec(1, FLEXFEC + b"\x50\0\0\0\0\0\x80\0\0\0\0\0\0\1" + SUM),
            "ulpfec": bytes([0]) + fec(0, media(1, b"one")) + fec(2, ULPFEC + b"\xa0\0" + SUM),
            "ulpfec_long": bytes([0]) + fec(2, b"\x40" + ULPFEC[1:] + b"\xa0\0\0\0\0\1" + SUM),
            "red": bytes([0]) + fec(2, ULPFEC + b"\xa0\0" + SUM) + fec(0, b"\x80\x76\0\1" + bytes(7) + b"\x07\x60one"),
            "encoder": bytes([0xC7]) + b"".join(fec(3 | kind << 2, bytes([kind]) * kind) for kind in range(60)),
        },
        "strangers": {
            "known_user": b"\x01" + chunk(ATTRIBUTES + FINGERPRINT),
            "unknown_user": b"\x02" + chunk(ATTRIBUTES) + b"\x0a" + chunk(b""),
            "everything": b"".join(
                b"\x00" + chunk(data[:255]) for data in (b"", rtp(), SENDER_REPORT, check(b"a:b"), b"\x16" + bytes(20))
            ),
        },
        "receive_path": {
            "vp8": path(0, VP8_KEY, VP8_DELTA),
            "vp9": path(1, VP9_KEY, VP9_DELTA),
            "av1": path(2, AV1_KEY, AV1_DELTA, (STRUCTURE, DELTA)),
            "h264": path(3, H264_STAP, H264_DELTA),
            "h265": path(4, H265_AP, H265_FU),
            "opaque": path(5, b"key", b"delta"),
        },
    }


def main() -> None:
    """Write them."""
    for target, found in seeds().items():
        folder = SEEDS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in found.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
