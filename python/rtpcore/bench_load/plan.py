"""What a load is to be, and the plan for the program that carries it out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rtpcore.wire.token import Claims, Keyring, VideoGrant

__all__ = ["Wish"]

TOKEN_TTL_S = 6 * 3600.0


@dataclass(frozen=True)
class Wish:
    """A load.

    Attributes:
        url: ``ws://HOST:PORT``.
        key: An API key of the server.
        secret: The key's secret.
        name: What rooms' names begin with.
        rooms: How many.
        publishers: In each room.
        subscribers: In each room, besides the publishers.
        audio: Publishers have an audio track.
        video: And a video track.
        video_publishers: How many in each room have one; None means all.
        publishers_subscribe: Publishers watch each other.
        seconds: How long to measure.
        join_rate: Clients that join each second.
        decrypt_every: Subscribers decrypt one media packet in so many.
        packets_per_frame: Of video, 1,100 bytes each.
        pid: The server's process, to look at.
    """

    url: str
    key: str
    secret: str
    name: str = "load"
    rooms: int = 1
    publishers: int = 1
    subscribers: int = 10
    audio: bool = True
    video: bool = True
    video_publishers: int | None = None
    publishers_subscribe: bool = False
    seconds: float = 10.0
    join_rate: float = 50.0
    decrypt_every: int = 100
    packets_per_frame: int = 8
    pid: int | None = None

    @property
    def watching(self) -> int:
        """Clients that receive, in all rooms.

        >>> Wish("ws://x", "k", "s", rooms=2, publishers=3, subscribers=10, publishers_subscribe=True).watching
        26
        """
        return self.rooms * (self.subscribers + self.publishers * self.publishers_subscribe)

    @property
    def clients(self) -> int:
        """Clients in all rooms."""
        return self.rooms * (self.subscribers + self.publishers)

    def to_plan(self, now: float) -> dict[str, Any]:
        """What the program reads: who joins, in which order, with which token.

        Args:
            now: Seconds since 1970, for the tokens.
        """
        with_video = self.publishers if self.video_publishers is None else self.video_publishers
        # Publishers come first, so that how long a subscriber waits for its first packet is the server's affair.
        clients = [
            self._member(room, f"publisher-{number}", now)
            | {"audio": self.audio, "video": self.video and number < with_video}
            | {"subscribes": self.publishers_subscribe}
            for number in range(self.publishers)
            for room in range(self.rooms)
        ]
        clients += [
            self._member(room, f"subscriber-{number}", now) | {"subscribes": True}
            for number in range(self.subscribers)
            for room in range(self.rooms)
        ]
        return {
            "url": self.url,
            "seconds": self.seconds,
            "join_rate": self.join_rate,
            "decrypt_every": self.decrypt_every,
            "packets_per_frame": self.packets_per_frame,
            "clients": clients,
        }

    def _member(self, room: int, identity: str, now: float) -> dict[str, Any]:
        name = f"{self.name}-{room}"
        claims = Claims(identity=identity, video=VideoGrant(room_join=True, room=name))
        # Servers in development have short secrets, and whether they may is the server's affair.
        token = Keyring({self.key: self.secret}, allow_short=True).issue(claims, now=now, ttl=TOKEN_TTL_S)
        return {"room": name, "token": token}
