"""SRTP and SRTCP, byte for byte, against Debian's libsrtp2: three profiles, both directions.

libsrtp2 is called through cffi; only what its public header declares is used.
"""

from __future__ import annotations

from typing import Any, ClassVar

import cffi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpcore import ParametersError
from rtpcore._core import SrtpInbound, SrtpOutbound

PROFILES = {
    "SRTP_AEAD_AES_128_GCM": (16, 12),
    "SRTP_AEAD_AES_256_GCM": (32, 12),
    "SRTP_AES128_CM_HMAC_SHA1_80": (16, 14),
}
RTP_WINDOW = 1024
"""As in `rust/core/src/srtp/context.rs`. libsrtp's window for RTCP is fixed, and is the same 128 as ours."""

every_profile = pytest.mark.parametrize("profile", PROFILES)
masters = st.binary(min_size=46, max_size=46)
ssrcs = st.integers(0, 2**32 - 1)


@st.composite
def rtp_tails(draw: st.DrawFn) -> tuple[int, int, bytes]:
    """What follows the fixed header, with the bits of its first byte and its second byte that announce it."""
    csrcs = draw(st.lists(ssrcs, max_size=15))
    tail = b"".join(csrc.to_bytes(4, "big") for csrc in csrcs)
    first = 0x80 | len(csrcs)
    if draw(st.booleans()):
        words = draw(st.integers(0, 8))
        profile = draw(st.sampled_from([0xBEDE, 0x1000, 0x1234]))
        tail += (
            profile.to_bytes(2, "big")
            + words.to_bytes(2, "big")
            + draw(st.binary(min_size=4 * words, max_size=4 * words))
        )
        first |= 0x10
    tail += draw(st.binary(max_size=1100))
    if draw(st.booleans()):
        padding = draw(st.integers(1, 255))
        tail += bytes(padding - 1) + bytes([padding])
        first |= 0x20
    return first, draw(st.integers(0, 255)), tail


def rtp(seq: int, ssrc: int, tail: tuple[int, int, bytes] = (0x80, 96, b"payload")) -> bytes:
    """An RTP packet with the low 16 bits of ``seq``."""
    first, second, rest = tail
    head = bytes([first, second]) + (seq & 0xFFFF).to_bytes(2, "big") + (1234).to_bytes(4, "big")
    return head + ssrc.to_bytes(4, "big") + rest


def rtcp(ssrc: int, body: bytes) -> bytes:
    """A receiver report in form; what follows its first two words is nothing to SRTCP."""
    body = body[: len(body) // 4 * 4]
    return b"\x80\xc9" + (1 + len(body) // 4).to_bytes(2, "big") + ssrc.to_bytes(4, "big") + body


def split(profile: str, master: bytes) -> tuple[bytes, bytes]:
    """The key and the salt that a profile takes of 46 bytes."""
    key_len, salt_len = PROFILES[profile]
    return master[:key_len], master[32 : 32 + salt_len]


@every_profile
@given(
    master=masters,
    ssrc=ssrcs,
    start=st.integers(0, 2**20) | st.integers(2**47, 2**48 - 2**21),
    packets=st.lists(st.tuples(st.integers(1, 0x7FFF), rtp_tails()), min_size=1, max_size=20),
)
def test_rtp_is_sealed_alike_and_each_opens_the_others(
    profile: str, master: bytes, ssrc: int, start: int, packets: list[tuple[int, tuple[int, int, bytes]]]
) -> None:
    ours = SrtpOutbound(profile, *split(profile, master))
    theirs = Libsrtp(profile, master, ssrc=ssrc, roc=start >> 16)
    opening = Libsrtp(profile, master, ssrc=ssrc, roc=start >> 16)
    index = start
    for step, tail in packets:
        plain = rtp(index, ssrc, tail)
        sealed = ours.protect_rtp(plain, index)
        assert sealed == theirs.protect(plain)
        assert sealed is not None
        assert opening.unprotect(sealed) == plain
        index += step


@every_profile
@given(
    master=masters,
    start=st.integers(0, 0xFFFF),
    moves=st.lists(
        st.tuples(
            st.integers(-8, 3) | st.integers(-RTP_WINDOW - 4, 4) | st.integers(-0x7FFF, 0x7FFF),
            st.sampled_from(["whole"] * 6 + ["tag", "payload", "header"]),
        ),
        max_size=120,
    ),
)
def test_rtp_is_taken_and_refused_alike(profile: str, master: bytes, start: int, moves: list[tuple[int, str]]) -> None:
    """Reordering, repetition, rollover, damage and jumps: the same packets pass, the rest fails for the same reason."""
    sealing = SrtpOutbound(profile, *split(profile, master))
    ours = SrtpInbound(profile, *split(profile, master))
    theirs = Libsrtp(profile, master, window=RTP_WINDOW)
    highest = start
    for move, damage in [(0, "whole"), *moves]:
        index = max(0, highest + move)
        plain = rtp(index, 0xCAFE)
        sealed = bytearray(sealing.protect_rtp(plain, index) or b"")
        sealed[{"whole": 0, "tag": -1, "payload": 13, "header": 5}[damage]] ^= 0x00 if damage == "whole" else 0x40
        taken = ours.unprotect_rtp(bytes(sealed))
        assert taken == theirs.unprotect(bytes(sealed)), f"{index} behind {highest}, {damage}"
        if damage == "whole" and isinstance(taken, bytes):
            assert taken == plain
            highest = max(highest, index)


@every_profile
@settings(max_examples=40)
@given(master=masters, ssrc=ssrcs, bodies=st.lists(st.binary(max_size=600), min_size=1, max_size=12))
def test_rtcp_is_sealed_alike_and_each_opens_the_others(
    profile: str, master: bytes, ssrc: int, bodies: list[bytes]
) -> None:
    ours = SrtpOutbound(profile, *split(profile, master))
    theirs = Libsrtp(profile, master)
    ours_in = SrtpInbound(profile, *split(profile, master))
    theirs_in = Libsrtp(profile, master)
    # Our first index is 0 (RFC 3711 §3.2.1), theirs is 1.
    first = ours.protect_rtcp(rtcp(ssrc, b""))
    assert first is not None
    assert theirs_in.unprotect_rtcp(first) == rtcp(ssrc, b"")
    for body in bodies:
        plain = rtcp(ssrc, body)
        sealed = ours.protect_rtcp(plain)
        assert sealed == theirs.protect_rtcp(plain)
        assert sealed is not None
        assert ours_in.unprotect_rtcp(sealed) == plain
        assert theirs_in.unprotect_rtcp(sealed) == plain


@every_profile
@settings(max_examples=40)
@given(
    master=masters,
    order=st.lists(st.integers(0, 40) | st.integers(100, 140) | st.integers(0, 299), max_size=80),
    damaged=st.sets(st.integers(0, 79), max_size=5),
)
def test_rtcp_is_taken_and_refused_alike(profile: str, master: bytes, order: list[int], damaged: set[int]) -> None:
    sealing = SrtpOutbound(profile, *split(profile, master))
    sealed = [sealing.protect_rtcp(rtcp(7, index.to_bytes(4, "big"))) or b"" for index in range(300)]
    ours = SrtpInbound(profile, *split(profile, master))
    theirs = Libsrtp(profile, master)
    for n, index in enumerate(order):
        packet = bytearray(sealed[index])
        packet[-1 if n in damaged else 0] ^= 0x01 if n in damaged else 0x00
        assert ours.unprotect_rtcp(bytes(packet)) == theirs.unprotect_rtcp(bytes(packet))


@every_profile
def test_a_replay_is_refused_by_both(profile: str) -> None:
    master = bytes(range(46))
    sealed = SrtpOutbound(profile, *split(profile, master)).protect_rtp(rtp(7, 1), 7)
    assert sealed is not None
    ours, theirs = SrtpInbound(profile, *split(profile, master)), Libsrtp(profile, master, window=RTP_WINDOW)
    assert ours.unprotect_rtp(sealed) == theirs.unprotect(sealed) == rtp(7, 1)
    assert ours.unprotect_rtp(sealed) == theirs.unprotect(sealed) == "replayed"


@every_profile
def test_the_window_ends_at_the_same_packet(profile: str) -> None:
    master = bytes(range(46))
    sealing = SrtpOutbound(profile, *split(profile, master))
    ours, theirs = SrtpInbound(profile, *split(profile, master)), Libsrtp(profile, master, window=RTP_WINDOW)
    for index, expected in [(5000, bytes), (5000 - RTP_WINDOW, "too_old"), (5001 - RTP_WINDOW, bytes)]:
        sealed = sealing.protect_rtp(rtp(index, 1), index) or b""
        taken = ours.unprotect_rtp(sealed)
        assert taken == theirs.unprotect(sealed)
        assert taken == expected or type(taken) is expected


@every_profile
def test_no_prefix_of_a_packet_passes(profile: str) -> None:
    master = bytes(range(46))
    outbound = SrtpOutbound(profile, *split(profile, master))
    inbound = SrtpInbound(profile, *split(profile, master))
    sealed = outbound.protect_rtp(rtp(7, 1), 7) or b""
    assert {inbound.unprotect_rtp(sealed[:n]) for n in range(len(sealed))} == {"bad_rtp", "bad_auth"}
    sealed = outbound.protect_rtcp(rtcp(1, b"1234")) or b""
    assert {inbound.unprotect_rtcp(sealed[:n]) for n in range(len(sealed))} == {"bad_rtcp", "bad_auth"}
    assert inbound.unprotect_rtcp(sealed) == rtcp(1, b"1234")


@every_profile
def test_another_key_is_refused(profile: str) -> None:
    sealed = SrtpOutbound(profile, *split(profile, bytes(46))).protect_rtp(rtp(7, 1), 7) or b""
    assert SrtpInbound(profile, *split(profile, bytes([1] * 46))).unprotect_rtp(sealed) == "bad_auth"


def test_streams_of_one_peer_are_bounded() -> None:
    key, salt = split("SRTP_AEAD_AES_128_GCM", bytes(46))
    outbound = SrtpOutbound("SRTP_AEAD_AES_128_GCM", key, salt)
    inbound = SrtpInbound("SRTP_AEAD_AES_128_GCM", key, salt, max_ssrcs=3)
    taken = [inbound.unprotect_rtp(outbound.protect_rtp(rtp(1, ssrc), 1) or b"") for ssrc in range(5)]
    assert taken == [rtp(1, 0), rtp(1, 1), rtp(1, 2), "too_many_ssrcs", "too_many_ssrcs"]


def test_an_index_that_does_not_belong_to_the_packet_is_not_sealed() -> None:
    outbound = SrtpOutbound("SRTP_AEAD_AES_128_GCM", *split("SRTP_AEAD_AES_128_GCM", bytes(46)))
    assert outbound.protect_rtp(rtp(7, 1), 8) is None
    assert outbound.protect_rtp(rtp(7, 1), 2**48 + 7) is None, "2^48 packets are the life of a key (RFC 3711 §9.2)"
    assert outbound.protect_rtp(rtp(7, 1), 2**48 - 2**16 + 7) is not None


@pytest.mark.parametrize("profile", [*PROFILES, "SRTP_NULL_SHA1_80"])
def test_a_master_of_another_length_or_an_unknown_profile_raises(profile: str) -> None:
    with pytest.raises(ParametersError):
        SrtpInbound(profile, bytes(15), bytes(12))
    with pytest.raises(ParametersError):
        SrtpOutbound(profile, bytes(15), bytes(12))


class Libsrtp:
    """One session of libsrtp2; errors come back as the label of our drop reason."""

    LABELS: ClassVar = {7: "bad_auth", 8: "bad_auth", 9: "replayed", 10: "too_old"}

    def __init__(self, profile: str, master: bytes, *, ssrc: int | None = None, roc: int = 0, window: int = 0) -> None:
        ffi, lib = libsrtp2()
        self._ffi, self._lib = ffi, lib
        key, salt = split(profile, master)
        self._key = ffi.new("unsigned char[]", key + salt)
        policy = ffi.new("srtp_policy_t *")
        for part in (ffi.addressof(policy, "rtp"), ffi.addressof(policy, "rtcp")):
            if profile == "SRTP_AES128_CM_HMAC_SHA1_80":
                lib.srtp_crypto_policy_set_rtp_default(part)
            elif profile == "SRTP_AEAD_AES_128_GCM":
                lib.srtp_crypto_policy_set_aes_gcm_128_16_auth(part)
            else:
                lib.srtp_crypto_policy_set_aes_gcm_256_16_auth(part)
        policy.key = self._key
        policy.window_size = window
        # Nobody repeats a packet here; but RTP and RTCP share a session in either direction.
        policy.ssrc.type, policy.ssrc.value = (
            (lib.ssrc_specific, ssrc) if ssrc is not None else (lib.ssrc_any_inbound, 0)
        )
        session = ffi.new("srtp_t *")
        assert lib.srtp_create(session, policy) == 0
        self._session = ffi.gc(session[0], lib.srtp_dealloc)
        if ssrc is not None and roc:
            assert lib.srtp_set_stream_roc(self._session, ssrc, roc) == 0

    def protect(self, packet: bytes) -> bytes | str:
        return self._call(self._lib.srtp_protect, packet)

    def unprotect(self, packet: bytes) -> bytes | str:
        return self._call(self._lib.srtp_unprotect, packet)

    def protect_rtcp(self, packet: bytes) -> bytes | str:
        return self._call(self._lib.srtp_protect_rtcp, packet)

    def unprotect_rtcp(self, packet: bytes) -> bytes | str:
        return self._call(self._lib.srtp_unprotect_rtcp, packet)

    def _call(self, function: Any, packet: bytes) -> bytes | str:
        # libsrtp works in place on whole words.
        buffer = self._ffi.new("uint32_t[]", (len(packet) + 200) // 4)
        self._ffi.memmove(buffer, packet, len(packet))
        length = self._ffi.new("int *", len(packet))
        status = function(self._session, buffer, length)
        if status != 0:
            return self.LABELS.get(status, f"libsrtp {status}")
        return bytes(self._ffi.buffer(buffer)[: length[0]])


def libsrtp2() -> tuple[cffi.FFI, Any]:
    """The library, opened and initialised once; the declarations are those of libsrtp 2.5's srtp.h."""
    if not hasattr(libsrtp2, "opened"):
        ffi = cffi.FFI()
        ffi.cdef(
            """
            typedef struct { uint32_t cipher_type; int cipher_key_len; uint32_t auth_type; int auth_key_len;
                             int auth_tag_len; int sec_serv; } srtp_crypto_policy_t;
            enum { ssrc_undefined = 0, ssrc_specific = 1, ssrc_any_inbound = 2, ssrc_any_outbound = 3 };
            typedef struct { int type; unsigned int value; } srtp_ssrc_t;
            typedef struct srtp_policy_t {
                srtp_ssrc_t ssrc; srtp_crypto_policy_t rtp; srtp_crypto_policy_t rtcp; unsigned char *key; void *keys;
                unsigned long num_master_keys; void *deprecated_ekt; unsigned long window_size; int allow_repeat_tx;
                int *enc_xtn_hdr; int enc_xtn_hdr_count; struct srtp_policy_t *next;
            } srtp_policy_t;
            typedef struct srtp_ctx_t_ *srtp_t;
            int srtp_init(void);
            int srtp_create(srtp_t *session, const srtp_policy_t *policy);
            int srtp_dealloc(srtp_t session);
            int srtp_set_stream_roc(srtp_t session, uint32_t ssrc, uint32_t roc);
            int srtp_protect(srtp_t session, void *packet, int *len);
            int srtp_unprotect(srtp_t session, void *packet, int *len);
            int srtp_protect_rtcp(srtp_t session, void *packet, int *len);
            int srtp_unprotect_rtcp(srtp_t session, void *packet, int *len);
            void srtp_crypto_policy_set_rtp_default(srtp_crypto_policy_t *policy);
            void srtp_crypto_policy_set_aes_gcm_128_16_auth(srtp_crypto_policy_t *policy);
            void srtp_crypto_policy_set_aes_gcm_256_16_auth(srtp_crypto_policy_t *policy);
            """
        )
        lib = ffi.dlopen("libsrtp2.so.1")
        assert lib.srtp_init() == 0
        libsrtp2.opened = (ffi, lib)
    opened: tuple[cffi.FFI, Any] = libsrtp2.opened
    return opened
