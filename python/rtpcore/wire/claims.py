"""What LiveKit writes into access tokens: who somebody is, and what grants permit.

Field names are LiveKit's: camel case in the token, snake case here. What a grant permits in a room is decided above;
here is only what its absence or combination means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from google.protobuf import json_format

from rtpcore.errors import TokenError
from rtpcore.wire import text
from rtpcore.wire.messages import ParticipantInfo, ParticipantPermission, RoomConfiguration, TrackSource

__all__ = ["Claims", "SipGrant", "VideoGrant", "read_claims", "read_time", "write_claims"]


@dataclass(frozen=True, slots=True)
class VideoGrant:
    """What a token permits in rooms. None means that the token does not say, which is not always no.

    Attributes:
        room_create: Create and delete rooms.
        room_list: List rooms.
        room_record: Start and stop recordings.
        room_admin: Administer the room that `room` names.
        room_join: Join that room.
        room: A room's name.
        destination_room: The room into which participants may be moved or forwarded.
        can_publish: Publish tracks; None is yes.
        can_subscribe: Receive tracks; None is yes.
        can_publish_data: Send data; None is as `can_publish`.
        can_publish_sources: Sources that may be published, by name; empty is every one.
        can_update_own_metadata: Change one's own name, metadata and attributes; None is no.
        ingress_admin: Administer ingresses.
        hidden: Invisible to the others.
        recorder: A recorder, in tokens older than the kind ``egress``.
        agent: Register agent workers; also in the tokens of agents themselves.
        can_subscribe_metrics: Receive the others' metrics; None is no.
        can_manage_agent_session: Control an agent's session; None is no.
    """

    room_create: bool = False
    room_list: bool = False
    room_record: bool = False
    room_admin: bool = False
    room_join: bool = False
    room: str = ""
    destination_room: str = ""
    can_publish: bool | None = None
    can_subscribe: bool | None = None
    can_publish_data: bool | None = None
    can_publish_sources: tuple[str, ...] = ()
    can_update_own_metadata: bool | None = None
    ingress_admin: bool = False
    hidden: bool = False
    recorder: bool = False
    agent: bool = False
    can_subscribe_metrics: bool | None = None
    can_manage_agent_session: bool | None = None

    def may_publish(self, source: int | None = None) -> bool:
        """Whether tracks may be published.

        Args:
            source: A `TrackSource`; None asks whether any may.

        >>> grant = VideoGrant(can_publish_sources=("microphone",))
        >>> grant.may_publish(), grant.may_publish(TrackSource.MICROPHONE), grant.may_publish(TrackSource.CAMERA)
        (True, True, False)
        """
        if self.can_publish is False:
            return False
        return source is None or not self.can_publish_sources or _source_name(source) in self.can_publish_sources

    @property
    def may_subscribe(self) -> bool:
        """Whether tracks may be received."""
        return self.can_subscribe is not False

    @property
    def may_publish_data(self) -> bool:
        """Whether data may be sent."""
        return self.may_publish() if self.can_publish_data is None else self.can_publish_data

    @property
    def may_update_own_metadata(self) -> bool:
        """Whether the participant may change its own name, metadata and attributes."""
        return bool(self.can_update_own_metadata)

    @property
    def permission(self) -> ParticipantPermission:
        """The same as participants are told it."""
        return ParticipantPermission(
            can_subscribe=self.may_subscribe,
            can_publish=self.may_publish(),
            can_publish_data=self.may_publish_data,
            can_publish_sources=[name.upper() for name in self.can_publish_sources if name in _SOURCE_NAMES.values()],
            hidden=self.hidden,
            recorder=self.recorder,
            can_update_metadata=self.may_update_own_metadata,
            agent=self.agent,
            can_subscribe_metrics=bool(self.can_subscribe_metrics),
            can_manage_agent_session=bool(self.can_manage_agent_session),
        )

    def with_permission(self, permission: ParticipantPermission) -> VideoGrant:
        """This grant after ``UpdateParticipant``; what makes a recorder or an agent does not change in mid call."""
        return replace(
            self,
            can_subscribe=permission.can_subscribe,
            can_publish=permission.can_publish,
            can_publish_data=permission.can_publish_data,
            can_publish_sources=tuple(map(_source_name, permission.can_publish_sources)),
            hidden=permission.hidden,
            can_update_own_metadata=permission.can_update_metadata,
            can_subscribe_metrics=permission.can_subscribe_metrics,
            can_manage_agent_session=permission.can_manage_agent_session,
        )


@dataclass(frozen=True, slots=True)
class SipGrant:
    """What a token permits in telephony.

    Attributes:
        admin: Administer trunks and rules.
        call: Make calls.
    """

    admin: bool = False
    call: bool = False


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. Grants for LiveKit's cloud are not kept.

    Attributes:
        identity: Who the participant is; unique in its room.
        name: What the others call it.
        metadata: The application's.
        attributes: The application's, by name.
        kind: Lower case: ``standard``, ``ingress``, ``egress``, ``sip``, ``agent``, ``connector`` or ``bridge``.
        kind_details: Lower case, such as ``cloud_agent``.
        video: What it may do in rooms; None for nothing.
        sip: What it may do in telephony; None for nothing.
        sha256: Standard base64 of the hash of the body that this token signs; empty where it signs none.
        room_config: How the room is to be, if this participant's joining creates it.
        room_preset: The name of such a configuration on the server.
        job: The id of the agent's job that this participant does; only this server writes it, and LiveKit's ignores it.
        fence: Which attempt at that job this is (see `rtpcore.agents`): a later one has a higher number.
        issuer: The API key that signed it.
        expires_at: Unix seconds; no longer valid after.
        not_before: Unix seconds; not yet valid before.
    """

    identity: str = ""
    name: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    kind: str = "standard"
    kind_details: tuple[str, ...] = ()
    video: VideoGrant | None = None
    sip: SipGrant | None = None
    sha256: str = ""
    room_config: RoomConfiguration | None = None
    room_preset: str = ""
    job: str = ""
    fence: int = 0
    issuer: str = ""
    expires_at: float = 0.0
    not_before: float = 0.0

    @property
    def participant_kind(self) -> int:
        """The kind as a `ParticipantInfo.Kind`."""
        return _KINDS.get(self.kind, ParticipantInfo.STANDARD)

    @property
    def participant_kind_details(self) -> tuple[int, ...]:
        """The details as `ParticipantInfo.KindDetail`, those that are known."""
        known = dict(ParticipantInfo.KindDetail.items())
        return tuple(known[one.upper()] for one in self.kind_details if one.upper() in known)

    @property
    def is_dependent(self) -> bool:
        """Whether this participant serves others: it is not counted, and keeps no room open."""
        return self.kind in ("agent", "egress") or (
            self.video is not None and (self.video.agent or self.video.recorder)
        )


def read_time(payload: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 §2), if there is one."""
    value = payload.get(name)
    if value is None:
        return None
    # Past 2^53 a float is no longer exact, and no date is meant; infinity and NaN, which Python's JSON has, fail too.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1 << 53:
        raise TokenError(f"the token's {name!r} is not a time")
    return float(value)


def read_claims(payload: Mapping[str, Any]) -> Claims:
    """The claims of a token whose signature holds. Raises TokenError: one of them is not what it must be."""
    kind = _text(payload, "kind").lower()
    job, fence = _read_job(payload)
    return Claims(
        # Before there was `sub`, LiveKit's libraries wrote the identity into `jti`.
        identity=_text(payload, "sub") or _text(payload, "jti"),
        name=_text(payload, "name"),
        metadata=_text(payload, "metadata"),
        attributes=_read_attributes(payload),
        kind=kind if kind in _KINDS else "standard",
        kind_details=tuple(detail.lower() for detail in _texts(payload, "kindDetails")),
        video=_read_grant(payload, "video", VideoGrant),
        sip=_read_grant(payload, "sip", SipGrant),
        sha256=_text(payload, "sha256"),
        room_config=_read_room_config(payload),
        room_preset=_text(payload, "roomPreset"),
        job=job,
        fence=fence,
        issuer=_text(payload, "iss"),
        expires_at=read_time(payload, "exp") or 0.0,
        not_before=read_time(payload, "nbf") or 0.0,
    )


def write_claims(claims: Claims) -> dict[str, Any]:
    """Leave out what says nothing, for tokens travel in URLs."""
    payload: dict[str, Any] = {
        "sub": claims.identity,
        "name": claims.name,
        "metadata": claims.metadata,
        "attributes": dict(claims.attributes),
        "kind": "" if claims.kind == "standard" else claims.kind,
        "kindDetails": list(claims.kind_details),
        "sha256": claims.sha256,
        "roomPreset": claims.room_preset,
    }
    payload = {name: value for name, value in payload.items() if value}
    if claims.video is not None:
        payload["video"] = _write_grant(claims.video)
    if claims.sip is not None:
        payload["sip"] = _write_grant(claims.sip)
    if claims.room_config is not None:
        payload["roomConfig"] = json_format.MessageToDict(claims.room_config)
    if claims.job:
        payload[_JOB] = {"id": claims.job, "fence": claims.fence}
    return payload


def _read_job(payload: Mapping[str, Any]) -> tuple[str, int]:
    job = payload.get(_JOB)
    if job is None:
        return "", 0
    fence = job.get("fence") if isinstance(job, dict) else None
    if not isinstance(job, dict) or not isinstance(fence, int) or isinstance(fence, bool):
        raise TokenError(f"the token's {_JOB!r} is not an object with an id and a fence")
    return _text(job, "id"), fence


def _read_grant(payload: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    """Read a grant of dataclass `kind` by the types of its defaults; what it does not know is ignored."""
    grant = payload.get(name)
    if grant is None:
        return None
    if not isinstance(grant, dict):
        raise TokenError(f"the token's {name!r} is not an object")
    found: dict[str, Any] = {}
    for member in fields(kind):
        key = _camel(member.name)
        if grant.get(key) is None:
            continue
        if member.default == "":
            found[member.name] = _text(grant, key)
        elif member.default == ():
            found[member.name] = _texts(grant, key)
        elif isinstance(grant[key], bool):
            found[member.name] = grant[key]
        else:
            raise TokenError(f"the token's {key!r} is neither true nor false")
    return kind(**found)


def _write_grant(grant: VideoGrant | SipGrant) -> dict[str, Any]:
    members = ((member, getattr(grant, member.name)) for member in fields(grant))
    return {
        _camel(member.name): list(value) if isinstance(value, tuple) else value
        for member, value in members
        if value != member.default
    }


def _read_attributes(payload: Mapping[str, Any]) -> dict[str, str]:
    attributes = payload.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise TokenError("the token's 'attributes' are not an object")
    return {_string(key, "attributes"): _string(value, "attributes") for key, value in attributes.items()}


def _read_room_config(payload: Mapping[str, Any]) -> RoomConfiguration | None:
    config = payload.get("roomConfig")
    if config is None:
        return None
    try:
        return text.fill(RoomConfiguration(), config)
    except ValueError:
        raise TokenError("the token's 'roomConfig' is not a RoomConfiguration") from None


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name)
    return "" if value is None else _string(value, name)


def _texts(payload: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = payload.get(name) or ()
    if not isinstance(values, (list, tuple)):
        raise TokenError(f"the token's {name!r} is not a list")
    return tuple(_string(value, name) for value in values)


def _string(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise TokenError(f"the token's {name!r} is not text")
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _source_name(source: int) -> str:
    """The name of a `TrackSource` in tokens; empty for one that is not known."""
    return _SOURCE_NAMES.get(source, "")


_JOB = "rtpcoreJob"
_SOURCE_NAMES = {value: name.lower() for name, value in TrackSource.items()}
_KINDS = {name.lower(): value for name, value in ParticipantInfo.Kind.items()}
