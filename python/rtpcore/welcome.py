"""What the server says of itself and of a room to a client that joins or comes back."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rtpcore.room import announcing, datatracks
from rtpcore.wire import ids
from rtpcore.wire.messages import ClientConfiguration, Codec, ServerInfo, SignalResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtpcore.session import Session
    from rtpcore.wire.messages import ICEServer
    from rtpcore.wire.token import Claims, Keyring

__all__ = ["PROTOCOL", "VERSION", "Welcome", "renewed"]

PROTOCOL = 16
"""The version of LiveKit's protocol that is spoken."""

VERSION = "1.13.11"
"""The LiveKit server whose behaviour this is; clients choose what they may ask by it."""

_PING_INTERVAL_S, _PING_TIMEOUT_S = 5, 15
_MIN_TOKEN_S = 600
_PUBLISH_CODECS = ("video/VP8", "video/H264", "video/VP9", "video/AV1", "audio/opus", "audio/red")


@dataclass(frozen=True)
class Welcome:
    """One server, as clients come to know it.

    Attributes:
        region: By configuration, for information only.
        ice_servers: What the participant with a sid is told of STUN and TURN.
        node_id: Made anew at each start.
        trailer: What marks frames that the server made, in rooms with end-to-end encryption.
    """

    region: str = ""
    ice_servers: Callable[[str], Sequence[ICEServer]] = field(default=lambda _: (), repr=False)
    node_id: str = field(default_factory=lambda: ids.node_id(ids.secret))
    trailer: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)

    def joined(self, session: Session) -> SignalResponse:
        """The first message of a session: the room as it is."""
        participant, room = session.participant, session.room
        response = SignalResponse()
        join = response.join
        join.room.CopyFrom(room.info())
        join.participant.CopyFrom(participant.info())
        join.other_participants.extend(room.visible_to(participant))
        join.server_version, join.server_region = VERSION, self.region
        join.subscriber_primary = not session.parameters.is_single and participant.permission.can_subscribe
        join.ice_servers.extend(self.ice_servers(participant.sid))
        join.ping_interval, join.ping_timeout = _PING_INTERVAL_S, _PING_TIMEOUT_S
        join.server_info.CopyFrom(self.server_info())
        join.client_configuration.CopyFrom(ClientConfiguration())
        join.sif_trailer = self.trailer
        join.enabled_publish_codecs.extend(Codec(mime=mime) for mime in _PUBLISH_CODECS if room.rules.allows(mime))
        join.fast_publish = participant.permission.can_publish
        return response

    def reconnected(self, session: Session, last_sequence: int) -> list[SignalResponse]:
        """The first messages on a session's next socket: what may have changed while it was away.

        Args:
            session: Whose.
            last_sequence: The number of the last reliable data packet that was taken from it.
        """
        participant, room = session.participant, session.room
        first, about = SignalResponse(), SignalResponse()
        first.reconnect.ice_servers.extend(self.ice_servers(participant.sid))
        first.reconnect.client_configuration.CopyFrom(ClientConfiguration())
        first.reconnect.last_message_seq = last_sequence
        first.reconnect.server_info.CopyFrom(self.server_info())
        everybody = announcing.updates([*room.visible_to(participant), participant.info()], room.rules.max_update)
        about.room_update.room.CopyFrom(room.info())
        return [first, *everybody, about, datatracks.listing(room, participant)]

    def server_info(self) -> ServerInfo:
        """What clients and agent workers are told of the server."""
        return ServerInfo(
            edition=ServerInfo.Edition.Standard,
            version=VERSION,
            protocol=PROTOCOL,
            region=self.region,
            node_id=self.node_id,
            agent_protocol=1,
        )


def renewed(session: Session, claims: Claims, keyring: Keyring, now_ms: int) -> SignalResponse:
    """A token that says what a participant now is and may do, for the next time that its client connects.

    Args:
        session: Whose.
        claims: What its first token said.
        keyring: Signs.
        now_ms: Unix time.
    """
    participant, now = session.participant, now_ms / 1000
    current = replace(
        claims,
        name=participant.name,
        metadata=participant.metadata,
        attributes=dict(participant.attributes),
        video=None if claims.video is None else claims.video.with_permission(participant.permission),
    )
    token = keyring.issue(current, now=now, ttl=max(_MIN_TOKEN_S, claims.expires_at - now))
    return SignalResponse(refresh_token=token)
