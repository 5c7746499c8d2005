"""Sessions without a network: whatever clients ask, in any order, costs nobody but themselves."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.strategies import messages

from rtpcore import sdp
from rtpcore.errors import LimitError, ParametersError, ProtocolError
from rtpcore.parameters import (
    DtlsParameters,
    Fingerprint,
    IceParameters,
    SenderParameters,
    TrackParameters,
    TransportParameters,
)
from rtpcore.room import Adjust, Participant, Removed, Room, Rules, Subscribe, Tell, Unsubscribe
from rtpcore.session import Session
from rtpcore.wire.join import JoinParameters
from rtpcore.wire.messages import (
    AddTrackRequest,
    ClientInfo,
    Encryption,
    MuteTrackRequest,
    ParticipantInfo,
    ParticipantPermission,
    SessionDescription,
    SignalRequest,
    SignalResponse,
    SimulcastCodec,
    SubscriptionError,
    SubscriptionPermission,
    SyncState,
    TrackInfo,
    TrackPublishedResponse,
    TrackSource,
    TrackType,
    TrickleRequest,
    UpdateSubscription,
)
from rtpcore.wire.token import Claims

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rtpcore.copies import Copy
    from rtpcore.parameters import Kind
    from rtpcore.room import Effect

OFFERS = [path.read_text() for path in sorted((Path(__file__).parent / "sdp" / "offers").glob("*.sdp"))]


@dataclass(eq=False)
class FakeReceiver:
    id: str
    track: TrackParameters

    def close(self) -> None: ...


class FakeSender:
    priority = 0

    def prefer(self, layer: object, *, priority: int = 0) -> None:
        self.priority = priority

    def follow(self, source: object) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...


NUMBERS = itertools.count()


@dataclass(eq=False)
class FakeTransport:
    """Takes everything."""

    local: TransportParameters = field(
        default_factory=lambda: TransportParameters(
            IceParameters("node", "a-password-of-the-node", lite=True),
            DtlsParameters((Fingerprint("sha-256", ":".join(["AB"] * 32)),)),
        )
    )

    def restart_ice(self) -> None:
        self.local = replace(self.local, ice=IceParameters(f"node{next(NUMBERS)}", "a-password-of-the-node", lite=True))

    def add_receiver(self, track: TrackParameters) -> FakeReceiver:
        return FakeReceiver(f"receiver {next(NUMBERS)}", track)

    def add_sender(self, source: object, parameters: object) -> FakeSender:
        return FakeSender()

    def set_remote(self, remote: object) -> None: ...
    def add_candidate(self, candidate: object) -> None: ...
    def open_channel(self, label: str, **options: Any) -> None: ...
    def close(self) -> None: ...


class Stage:
    """A room with clients, and what the host does with effects."""

    def __init__(self, *, is_single: bool) -> None:
        self.room = Room("stage", "RM_stage", 0)
        self.now_ms = 0
        self.sessions: dict[str, Session] = {}
        self.versions: dict[str, int] = {}
        self._is_single = is_single

    def join(self, identity: str, **wishes: Any) -> Session:
        permission = ParticipantPermission(can_publish=True, can_subscribe=True, can_update_metadata=True)
        number = next(NUMBERS)
        participant = Participant(f"PA_{number}", identity, self.now_ms, permission=permission)
        session = Session(
            participant,
            self.room,
            JoinParameters(is_single=self._is_single, **wishes),
            Claims(identity=identity),
            expect=lambda: cast("Any", FakeTransport()),
            letters=lambda count: "".join(random.choices("abcdefgh", k=count)),
        )
        self.sessions[participant.sid] = session
        effects = self.room.join(participant)
        session.peer.begin()
        self.perform(effects)
        self.perform(self.room.activate(participant))
        return session

    def ask(self, session: Session, request: SignalRequest) -> None:
        """As `Host.handle`: three kinds of errors end a session, any other is a bug."""
        self.now_ms += 10
        if session.is_over or session.participant.sid not in self.sessions:
            return
        try:
            effects = session.handle(request, self.now_ms)
        except (ProtocolError, ParametersError, LimitError):
            self.perform(self.room.leave(session.participant, 0, self.now_ms))
            return
        self.perform(effects)
        session.negotiate()
        for receiver in session.peer.publisher.receivers:
            self.perform(session.started(receiver, self.now_ms))

    def perform(self, effects: Iterable[Effect]) -> None:
        touched: set[Session] = set()
        for effect in effects:
            match effect:
                case Tell(to, message) if to.sid in self.sessions:
                    for info in message.update.participants:
                        self.told(to, info)
                    self.sessions[to.sid].send(message)
                case Subscribe(one) if one.subscriber.sid in self.sessions and one.track.publisher.sid in self.sessions:
                    sources = self.sessions[one.track.publisher.sid].sources_of(one.track)
                    assert sources is not None, "a track without media is sent to nobody"
                    self.sessions[one.subscriber.sid].subscribe(one, sources)
                    touched.add(self.sessions[one.subscriber.sid])
                case Unsubscribe(one) if one.subscriber.sid in self.sessions:
                    self.sessions[one.subscriber.sid].unsubscribe(one)
                    touched.add(self.sessions[one.subscriber.sid])
                case Adjust(one) if one.subscriber.sid in self.sessions:
                    sources = self.sessions[one.track.publisher.sid].sources_of(one.track)
                    assert sources is not None
                    self.perform(self.sessions[one.subscriber.sid].adjust(one, sources, self.now_ms))
                case Removed(participant, _):
                    session = self.sessions.pop(participant.sid)
                    session.is_over = True
                    session.peer.close()
                case _:
                    pass
        for session in touched:
            if not session.is_over:
                session.negotiate()

    def told(self, to: Participant, info: ParticipantInfo) -> None:
        key = f"{to.sid} of {info.sid}"
        assert info.version >= self.versions.get(key, 0), "versions only rise"
        self.versions[key] = info.version

    def check(self) -> None:
        """What holds whatever was asked."""
        for participant in self.room.participants.values():
            assert participant.sid in self.sessions
            for track in participant.tracks.values():
                assert self.sessions[participant.sid].sources_of(track) is not None, "no track without its media"
            for sid, subscription in participant.subscriptions.items():
                assert subscription.track.sid == sid
                assert subscription.track.publisher.tracks.get(sid) is subscription.track, "no subscription to the past"
        for sid, session in self.sessions.items():
            assert self.room.participants[session.participant.identity].sid == sid
            for copy in session.peer.subscriber.copies.values():
                subscription = session.participant.subscriptions[copy.sid]
                assert subscription.is_active, "nobody gets what they may not have"


class Client:
    """A client as it should be: it announces and offers what it publishes, and answers what it is offered."""

    def __init__(self, session: Session, *codecs: str) -> None:
        """`codecs` are all that it knows, by MIME type; by default everything."""
        self.session = session
        capabilities = sdp.Capabilities().only(*codecs) if codecs else None
        self.is_single = session.peer.subscriber is session.peer.publisher
        self._publisher, self._subscriber = sdp.Negotiation(capabilities), sdp.Negotiation(capabilities)
        self.heard: list[SignalResponse] = []
        self._offer_id = 0
        self._senders: list[SenderParameters] = []
        self._receivers: list[TrackParameters] = []
        self._local = TransportParameters(
            IceParameters("peer", "a-password-of-the-peer"),
            DtlsParameters((Fingerprint("sha-256", ":".join(["CD"] * 32)),), "active"),
        )
        self._local_of_subscriber = replace(self._local, ice=IceParameters("else", "a-password-of-the-peer"))

    def publish(self, kind: Kind, *codecs: str, sid: str = "") -> list[SignalRequest]:
        """Announce a track in `codecs`, with media in the first of them; or with `sid` media in another codec of it."""
        number = next(NUMBERS)
        self._senders.append(
            SenderParameters(self._publisher.mid(kind), kind, ssrc=number + 1, stream_id="stream", track_id=str(number))
        )
        source, type_ = {
            "audio": (TrackSource.MICROPHONE, TrackType.AUDIO),
            "video": (TrackSource.CAMERA, TrackType.VIDEO),
        }[kind]
        wishes = [SimulcastCodec(codec=name, cid="" if index else str(number)) for index, name in enumerate(codecs)]
        add = AddTrackRequest(cid=str(number), type=type_, source=source, sid=sid, simulcast_codecs=wishes)
        return [SignalRequest(add_track=add), *self.offer()]

    def unpublish(self) -> list[SignalRequest]:
        self._senders = self._senders[1:]
        return self.offer()

    def offer(self) -> list[SignalRequest]:
        if self._publisher.is_pending:
            return []
        text = str(self._publisher.offer(self._local, senders=self._senders, receivers=self._receivers))
        self._offer_id += 1
        return [SignalRequest(offer=SessionDescription(type="offer", sdp=text, id=self._offer_id))]

    def read(self) -> list[SignalRequest]:
        """What it has to say to what it was told."""
        said: list[SignalRequest] = []
        while self.session.outbox:
            message = self.session.outbox.popleft()
            self.heard.append(message)
            match message.WhichOneof("message"):
                # Those to what was said for another one have no number.
                case "answer" if self._publisher.is_pending and message.answer.id == self._offer_id:
                    self._publisher.apply(sdp.parse(message.answer.sdp))
                case "offer":
                    answer = self._subscriber.answer(sdp.parse(message.offer.sdp), self._local_of_subscriber)
                    told = SessionDescription(type="answer", sdp=str(answer), id=message.offer.id)
                    said.append(SignalRequest(answer=told))
                case "media_sections_requirement":
                    need = message.media_sections_requirement
                    kinds: list[Kind] = [*["audio"] * need.num_audios, *["video"] * need.num_videos]
                    self._receivers += [TrackParameters(self._publisher.mid(kind), kind) for kind in kinds]
                    said += self.offer()
        return said


@st.composite
def requests(draw: st.DrawFn, stage: Stage, client: Client) -> list[SignalRequest]:
    """What a client might say, or anything."""
    tracks = [track.sid for one in stage.room.participants.values() for track in (*one.tracks.values(), *one.pending)]
    sid = draw(st.sampled_from([*tracks, "TR_none", ""]))
    sensible = ["read", "read", "read", "audio", "video", "unpublish", "mute", "subscription", "sync_state", "permit"]
    match draw(st.sampled_from([*sensible, "any", "offer", "answer", "trickle"])):
        case "read":
            return client.read()
        case "audio":
            return client.publish("audio")
        case "video":
            return client.publish("video")
        case "unpublish":
            return client.unpublish()
        case "mute":
            return [SignalRequest(mute=MuteTrackRequest(sid=sid, muted=draw(st.booleans())))]
        case "subscription":
            return [SignalRequest(subscription=UpdateSubscription(track_sids=[sid], subscribe=draw(st.booleans())))]
        case "permit":
            permission = SubscriptionPermission(all_participants=draw(st.booleans()))
            return [SignalRequest(subscription_permission=permission)]
        case "sync_state":
            published = [TrackPublishedResponse(track=TrackInfo(sid=sid))] if draw(st.booleans()) else []
            wish = UpdateSubscription(track_sids=[sid], subscribe=draw(st.booleans()))
            return [SignalRequest(sync_state=SyncState(subscription=wish, publish_tracks=published))]
        case "trickle":
            text = draw(st.sampled_from(["", "candidate:1 1 udp 1 192.0.2.1 9 typ host", "nonsense"]))
            return [SignalRequest(trickle=TrickleRequest(candidateInit=json.dumps({"candidate": text})))]
        case "offer":
            return [SignalRequest(offer=SessionDescription(type="offer", sdp=draw(st.sampled_from(OFFERS))))]
        case "answer":
            return [SignalRequest(answer=SessionDescription(type="answer", sdp=draw(st.sampled_from(OFFERS))))]
        case _:
            return [draw(messages(SignalRequest))]


@given(data=st.data(), is_single=st.booleans())
def test_any_requests_in_any_order_leave_a_room_in_order(data: st.DataObject, is_single: bool) -> None:
    stage = Stage(is_single=is_single)
    clients = [Client(stage.join(name)) for name in ("ada", "bob", "carol")]
    for number in data.draw(st.lists(st.integers(0, 2), min_size=5, max_size=25), label="who speaks"):
        if clients[number].session.participant.sid not in stage.sessions:
            clients[number] = Client(stage.join(clients[number].session.participant.identity))
        for request in data.draw(requests(stage, clients[number]), label="requests"):
            stage.ask(clients[number].session, request)
            stage.check()
    for client in clients:
        stage.perform(stage.room.leave(client.session.participant, 0, stage.now_ms))
    assert not stage.sessions
    assert not stage.room.participants


def test_everybody_gets_everything_in_the_end() -> None:
    """What the test above takes for granted: its clients are served when they behave."""
    for is_single in (False, True):
        stage = Stage(is_single=is_single)
        clients = [Client(stage.join(name)) for name in ("ada", "bob", "carol")]
        for client, kind in itertools.product(clients, ("audio", "video")):
            for request in client.publish(kind):
                stage.ask(client.session, request)
            for other in clients * 3:
                for request in other.read():
                    stage.ask(other.session, request)
        for client in clients:
            copies = client.session.peer.subscriber.copies.values()
            assert len(copies) == 4
            assert all(copy.sender is not None for copy in copies)


@pytest.mark.parametrize("is_single", [False, True])
def test_a_short_path_gets_who_speaks_first(is_single: bool) -> None:
    stage = Stage(is_single=is_single)
    ada, bob, carol = (Client(stage.join(name)) for name in ("ada", "bob", "carol"))
    begin(stage, (ada, bob, carol))
    for client, kind in itertools.product((ada, bob), ("audio", "video")):
        for request in client.publish(kind):
            stage.ask(client.session, request)
        talk(stage, (ada, bob, carol))
    path = carol.session.peer.subscriber

    def ranks() -> list[int]:
        return [cast("Any", copy.sender).priority for copy in path.copies.values() if copy.kind == "video"]

    stage.perform(one for track in ada.session.peer.publisher.receivers for one in ada.session.hear(track, 0.5))
    assert ranks() == [1, 1], "nothing is known of the path yet"
    assert carol.session.measure(cast("Any", FakeTransport()), 100_000) == [], "that is not where it is subscribed"
    stage.perform(carol.session.measure(path.transport, 100_000))
    assert ranks() == [128, 1]
    stage.perform(carol.session.measure(path.transport, 100_000_000))
    assert ranks() == [1, 1]


def begin(stage: Stage, clients: Sequence[Client]) -> None:
    """Let clients with a single connection offer it, as they do when they join."""
    for client in clients:
        for request in client.offer() if client.is_single else []:
            stage.ask(client.session, request)
    talk(stage, clients)


def talk(stage: Stage, clients: Iterable[Client]) -> None:
    """Let everybody answer until nobody has anything to say."""
    said = True
    while said:
        said = False
        for client in clients:
            for request in client.read():
                stage.ask(client.session, request)
                said = True


@pytest.mark.parametrize("is_single", [False, True])
@pytest.mark.parametrize("is_small", [False, True])
def test_who_cannot_take_a_codec_gets_the_backup(is_single: bool, is_small: bool) -> None:
    stage = Stage(is_single=is_single)
    stage.room.rules = Rules(regression_threshold=4 if is_small else 3)
    ada = Client(stage.join("ada"))
    modern, old = Client(stage.join("modern")), Client(stage.join("old"), "audio/opus", "video/VP8")
    everybody = (ada, modern, old)
    begin(stage, everybody)
    for request in ada.publish("video", "av1", "vp8"):
        stage.ask(ada.session, request)
    talk(stage, everybody)
    track = next(iter(ada.session.participant.tracks.values()))

    def copy(client: Client) -> Copy:
        return client.session.peer.subscriber.copies[track.sid]

    assert copy(modern).sender is not None
    assert copy(old).sender is None, "its codec is not sent yet"
    asked = [one.subscribed_quality_update for one in ada.heard if one.HasField("subscribed_quality_update")]
    wanted = {one.codec: [quality.enabled for quality in one.qualities] for one in asked[-1].subscribed_codecs}
    assert wanted == {"av1": [True] * 3, "vp8": [True] * 3}

    for request in ada.publish("video", "vp8", sid=track.sid):
        stage.ask(ada.session, request)
    talk(stage, everybody)
    assert len(ada.session.participant.tracks) == 1, "it is one track"
    assert (copy(old).mime_type, copy(old).sender is not None) == ("video/vp8", True)
    assert copy(modern).mime_type == ("video/vp8" if is_small else "video/av1"), "in a small room all get the backup"
    stage.check()


@pytest.mark.parametrize("is_single", [False, True])
def test_who_takes_no_codec_of_a_track_is_told_once(is_single: bool) -> None:
    stage = Stage(is_single=is_single)
    ada, old = Client(stage.join("ada"), "audio/opus", "video/AV1"), Client(stage.join("old"), "video/VP8")
    begin(stage, (ada, old))
    for request in ada.publish("video", "av1"):
        stage.ask(ada.session, request)
    talk(stage, (ada, old))
    errors = [one.subscription_response.err for one in old.heard if one.HasField("subscription_response")]
    assert errors == [SubscriptionError.SE_CODEC_UNSUPPORTED]
    assert not old.session.peer.subscriber.copies
    stage.check()


def test_an_offer_that_is_not_answered_is_noticed() -> None:
    stage = Stage(is_single=False)
    peer = stage.join("ada").peer
    peer.negotiate()
    assert not peer.is_overdue(1000)
    assert not peer.is_overdue(15_999)
    assert peer.is_overdue(16_000)
    stage = Stage(is_single=False)
    client = Client(stage.join("ada"))
    client.session.negotiate()
    talk(stage, [client])
    assert not client.session.peer.is_overdue(0)
    assert not client.session.peer.is_overdue(60_000)


@pytest.mark.parametrize("is_single", [False, True])
@pytest.mark.parametrize(
    ("facts", "first"),
    [({}, "red"), ({"disable_red": True}, "opus"), ({"encryption": Encryption.GCM}, "opus")],
)
def test_sound_comes_with_redundancy_unless_its_publisher_will_not(
    is_single: bool, facts: dict[str, Any], first: str
) -> None:
    stage = Stage(is_single=is_single)
    ada = Client(stage.join("ada"))
    add, *others = ada.publish("audio")
    add.add_track.MergeFrom(AddTrackRequest(**facts))
    for request in (add, *others):
        stage.ask(ada.session, request)
    ada.read()
    (answer,) = [one.answer.sdp for one in ada.heard if one.HasField("answer")]
    section = next(one for one in sdp.parse(answer).media if one.kind == "audio")
    assert sdp.read_codecs(section)[0].mime_type == f"audio/{first}"
    (track,) = ada.session.participant.tracks.values()
    assert track.info.mime_type == f"audio/{first}"


@pytest.mark.parametrize(("sdk", "is_kept"), [(ClientInfo.SDK.GO, True), (ClientInfo.SDK.JS, False)])
def test_the_go_sdk_gets_the_answer_to_its_early_offer_once_it_has_applied_it(
    sdk: ClientInfo.SDK, is_kept: bool
) -> None:
    stage = Stage(is_single=True)
    text = next(text for text in OFFERS if "m=audio" in text and "a=candidate" not in text)
    offer = SessionDescription(type="offer", sdp=text, id=7)
    session = stage.join("ada", client=ClientInfo(sdk=sdk), publisher_offer=offer)

    def answers() -> list[int]:
        return [message.answer.id for message in session.outbox if message.HasField("answer")]

    for request in session.early():
        stage.ask(session, request)
    assert answers() == ([] if is_kept else [7])
    for _ in range(2):
        stage.ask(session, SignalRequest(trickle=TrickleRequest(candidateInit=json.dumps({"candidate": ""}))))
    assert answers() == [7], "once"


def test_nothing_is_sent_in_a_section_in_which_the_client_sends_simulcast() -> None:
    stage = Stage(is_single=True)
    text = next(text for text in OFFERS if "a=simulcast:send" in text).replace("a=sendonly", "a=sendrecv")
    ada, bob = Client(stage.join("ada")), stage.join("bob")
    begin(stage, [ada])
    for request in ada.publish("video"):
        stage.ask(ada.session, request)
    stage.ask(bob, SignalRequest(offer=SessionDescription(type="offer", sdp=text)))
    (copy,) = (copy for copy in bob.peer.subscriber.copies.values() if copy.kind == "video")
    assert copy.mid is None
    asked = [one.media_sections_requirement for one in bob.outbox if one.HasField("media_sections_requirement")]
    assert [one.num_videos for one in asked] == [1]
