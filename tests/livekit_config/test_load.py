"""Text, environment and command line to a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rtpcore.config import Config, Listen, Media
from rtpcore.errors import ConfigError
from rtpcore.livekit_config import (
    Agents,
    Audio,
    Codec,
    CongestionControl,
    LiveKitConfig,
    Logging,
    PlayoutDelay,
    Prometheus,
    Room,
    Rtc,
    SessionLimits,
    Turn,
    TurnServer,
    Video,
    Webhook,
    WebhookFilter,
    load,
)
from rtpcore.livekit_config.unsupported import LATER

SECRET = "0123456789abcdef0123456789abcdef"
EVERYWHERE = ("0.0.0.0", "::")
KEYS = f"keys: {{key: {SECRET}}}\n"

EVERYTHING = f"""
port: 8000
bind_addresses: [192.0.2.1, "2001:db8::1"]
keys:
  key: {SECRET}
  other: "0123"
region: here
development: false
enable_data_tracks: off
rtc:
  udp_port: 9000
  tcp_port: 9001
  node_ip: 198.51.100.1, 2001:db8::2
  use_external_ip: yes
  external_ip_only: true
  stun_servers: ["stun.example.com:3478"]
  turn_servers:
    - {{host: turn.example.com, port: 443, protocol: tls, username: u, credential: c}}
    - {{host: turn.example.com, port: 3478, protocol: udp, secret: s, ttl: 60}}
  use_ice_lite: false
  allow_tcp_fallback: false
  congestion_control: {{enabled: true, allow_pause: true, use_send_side_bwe: true}}
room:
  auto_create: false
  enabled_codecs:
    - mime: audio/opus
    - {{mime: video/h264, fmtp_line: profile-level-id=42e01f}}
  max_participants: 10
  empty_timeout: 60
  departure_timeout: 0
  enable_remote_unmute: true
  playout_delay: {{enabled: true, min: 100, max: 2000}}
  sync_streams: true
  enable_full_room_in_webhooks: true
  update_batch_target_size: 1000
turn:
  enabled: true
  domain: turn.example.com
  cert_file: cert.pem
  key_file: key.pem
  tls_port: 5349
  udp_port: 3478
  relay_range_start: 40000
  relay_range_end: 40100
  external_tls: false
  bind_addresses: ["0.0.0.0"]
  per_user_relay_allocation_limit: 3
  ttl_seconds: 600
  allow_restricted_peer_cidrs: [10.0.0.0/8]
  deny_peer_cidrs: [10.1.0.0/16]
webhook:
  api_key: key
  urls: ["https://example.com/hook"]
  filter_params: {{include_events: [room_started], exclude_events: [track_published]}}
limit:
  num_tracks: -1
  bytes_per_sec: 1_000_000
  subscription_limit_video: 1
  subscription_limit_audio: 2
  max_metadata_size: 3
  max_attributes_size: 4
  max_room_name_length: 5
  max_participant_identity_length: 6
  max_participant_name_length: 7
  signal_message_size_limit: 8
  agent_signal_message_size_limit: 10
  max_api_request_body_size: 9
logging: {{level: warn, json: true}}
prometheus: {{port: 6789, username: p, password: q}}
audio: {{active_level: 30, min_percentile: 50, update_interval: 500, smooth_intervals: 4, active_red_encoding: true}}
video: {{dynacast_pause_delay: 1m1.5s, codec_regression_threshold: 2}}
agents: {{target_load: 0.5, queue_timeout: 1m, answer_timeout: 5s, join_timeout: 30s, max_attempts: 2,
  max_workers: 3, max_queue: 4, max_dispatches: 5}}
"""


def test_every_setting_is_read() -> None:
    assert load(EVERYTHING, environ={}) == LiveKitConfig(
        port=8000,
        bind_addresses=("192.0.2.1", "2001:db8::1"),
        keys={"key": SECRET, "other": "0123"},
        region="here",
        enable_data_tracks=False,
        rtc=Rtc(
            udp_ports=(9000, 9000),
            tcp_port=9001,
            node_ip=("198.51.100.1", "2001:db8::2"),
            use_external_ip=True,
            external_ip_only=True,
            stun_servers=("stun.example.com:3478",),
            turn_servers=(
                TurnServer("turn.example.com", 443, "tls", "u", "c"),
                TurnServer("turn.example.com", 3478, "udp", secret="s", ttl_s=60),
            ),
            use_ice_lite=False,
            allow_tcp_fallback=False,
            congestion_control=CongestionControl(True, True, True),
        ),
        room=Room(
            False,
            (Codec("audio/opus"), Codec("video/h264", "profile-level-id=42e01f")),
            10,
            60,
            0,
            True,
            PlayoutDelay(True, 100, 2000),
            True,
            True,
            1000,
        ),
        turn=Turn(
            True,
            "turn.example.com",
            "cert.pem",
            "key.pem",
            5349,
            3478,
            40000,
            40100,
            False,
            ("0.0.0.0",),
            3,
            600,
            ("10.0.0.0/8",),
            ("10.1.0.0/16",),
        ),
        webhook=Webhook(("https://example.com/hook",), "key", WebhookFilter(("room_started",), ("track_published",))),
        limit=SessionLimits(-1, 1e6, 1, 2, 3, 4, 5, 6, 7, 8, 10, 9),
        logging=Logging("warning", True),
        prometheus=Prometheus(6789, "p", "q"),
        audio=Audio(30, 50, 500, 4, True),
        video=Video(61.5, 2),
        agents=Agents(0.5, 60.0, 5.0, 30.0, 2, 3, 4, 5),
        unsupported=LATER,
    )


def test_keys_alone_are_a_configuration_with_livekits_defaults() -> None:
    config = load(KEYS, environ={})
    assert config == LiveKitConfig(keys={"key": SECRET})
    assert (config.port, config.rtc.tcp_port, config.room.empty_timeout_s, config.room.departure_timeout_s) == (
        7880,
        7881,
        300,
        20,
    )
    assert (config.limit.max_metadata_size, config.audio.active_level) == (524288, 35)
    assert config.forwarder == Config(listen=Listen(EVERYWHERE, udp_port=7882, tcp_port=7881))


def test_dev_mode_has_known_keys_stays_on_this_machine_and_says_much() -> None:
    config = load(environ={}, is_dev=True)
    assert config.development
    assert config.keys == {"devkey": "secret"}
    assert config.bind_addresses == ("127.0.0.1", "::1")
    assert config.logging.level == "debug"
    assert config.forwarder.listen == Listen(("127.0.0.1",), 7882, 7881)
    assert load("development: true", environ={}) == config


def test_dev_mode_keeps_what_is_given() -> None:
    text = KEYS + "bind_addresses: ['192.0.2.1']\nlogging: {level: error}"
    config = load(text, environ={}, is_dev=True)
    assert (config.keys, config.bind_addresses, config.logging.level) == ({"key": SECRET}, ("192.0.2.1",), "error")
    assert config.forwarder.listen.addresses == ("192.0.2.1",)
    own_keys = load(KEYS, environ={}, is_dev=True)
    assert own_keys.bind_addresses == (), "keys that nobody else knows may be used from elsewhere, as with LiveKit"
    assert own_keys.forwarder.listen.addresses == EVERYWHERE


def test_without_keys_and_outside_dev_mode_nothing_starts() -> None:
    for text in ("", "port: 7880", "keys: {}", "keys:"):
        with pytest.raises(ConfigError, match=r"^keys: .*LIVEKIT_KEYS.*--dev"):
            load(text, environ={})


def test_the_environment_stands_over_the_file_and_the_command_line_over_both() -> None:
    text = KEYS + "port: 1\nregion: file\nrtc: {tcp_port: 1, use_ice_lite: false}"
    environ = {
        "LIVEKIT_PORT": "2",
        "LIVEKIT_REGION": "environment",
        "LIVEKIT_RTC_TCP_PORT": "2",
        "LIVEKIT_ROOM_AUTO_CREATE": "false",
        "LIVEKIT_RTC_CONGESTION_CONTROL_ALLOW_PAUSE": "1",
        "LIVEKIT_VIDEO_DYNACAST_PAUSE_DELAY": "2s",
        "LIVEKIT_TURN_CERT": "cert",
        "LIVEKIT_TURN_KEY": "key",
        "LIVEKIT_KEYS": "a: secret-a\nb: secret-b",
        "LIVEKIT_URL": "ws://example.com",
        "LIVEKIT_API_KEY": "for clients",
        "NODE_IP": "198.51.100.1",
        "UDP_PORT": "7000",
        "LIVEKIT_ROOM_MAX_PARTICIPANTS": "",
    }
    config = load(text, environ=environ, overrides={"port": "3", "bind_addresses": ["192.0.2.1"], "rtc.node_ip": "::2"})
    assert (config.port, config.region, config.rtc.tcp_port) == (3, "environment", 2)
    assert (config.room.auto_create, config.room.max_participants) == (False, 0)
    assert config.rtc.congestion_control.allow_pause
    assert config.video.dynacast_pause_delay_s == 2.0
    assert (config.turn.cert_file, config.turn.key_file) == ("cert", "key")
    assert list(config.keys.items()) == [("a", "secret-a"), ("b", "secret-b")]
    assert (config.rtc.node_ip, config.rtc.udp_port, config.bind_addresses) == (("::2",), 7000, ("192.0.2.1",))
    assert config.rtc.use_ice_lite is False


def test_the_environment_may_hold_the_whole_file() -> None:
    assert load(environ={"LIVEKIT_CONFIG": KEYS + "port: 5"}).port == 5
    assert load(KEYS, environ={"LIVEKIT_CONFIG": KEYS + "port: 5"}).port == 7880


def test_the_environment_of_the_process_is_read_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEKIT_PORT", "77")
    assert load(KEYS).port == 77
    assert load(KEYS, environ={}).port == 7880


@pytest.mark.parametrize(
    ("text", "name", "hint"),
    [
        ("prot: 1", "prot", "did you mean port?"),
        ("rtc: {udp_prot: 1}", "rtc.udp_prot", "did you mean rtc.udp_port?"),
        ("rtc: {use_icelite: true}", "rtc.use_icelite", "did you mean rtc.use_ice_lite?"),
        ("room: {emptytimeout: 1}", "room.emptytimeout", "did you mean room.empty_timeout?"),
        ("reddis: {}", "reddis", "did you mean redis?"),
        ("logging: {samples: true}", "logging.samples", "did you mean logging.sample?"),
        ("udp_port: 1", "udp_port", "here; did you mean rtc.udp_port?"),
        ("max_participants: 1", "max_participants", "here; did you mean room.max_participants?"),
        ("rtc: {congestion_control: {allow_paus: 1}}", "rtc.congestion_control.allow_paus", "allow_pause?"),
        ("rtc: {turn_servers: [{hostname: x}]}", "rtc.turn_servers[0].hostname", "not a setting"),
        ("webhook: {xyzzy: 1}", "webhook.xyzzy", "known here are api_key, filter_params, urls"),
    ],
)
def test_an_unknown_setting_is_refused_with_what_was_perhaps_meant(text: str, name: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(KEYS + text, environ={})
    assert caught.value.setting == name
    assert hint in caught.value.problem


def test_unknown_settings_are_only_listed_where_that_is_asked_for() -> None:
    config = load(KEYS + "prot: 1\nroom: {colour: red}", environ={}, is_strict=False)
    assert (config.port, config.unsupported) == (7880, ("room.colour", "prot"))


def test_what_livekit_knows_and_we_do_not_do_is_listed_unless_it_is_off() -> None:
    text = """
redis: {address: "localhost:6379"}
ingress: {rtmp_base_url: "rtmp://example.com"}
node_selector: {kind: any}
signal_relay: {}
enable_participant_data_blob: false
rtc: {pli_throttle: {low_quality: 500ms}, use_mdns: false, strict_acks: true, batch_io: {batch_size: 128}}
logging: {pion_level: error, sample: false}
room: {room_configurations: {small: {maxparticipants: 2}}}
"""
    assert set(load(KEYS + text, environ={"REDIS_PASSWORD": "hush"}).unsupported) == {
        "redis",
        "ingress",
        "node_selector",
        "rtc.pli_throttle",
        "rtc.strict_acks",
        "rtc.batch_io",
        "logging.pion_level",
        "room.room_configurations",
    }
    assert load(KEYS, environ={"REDIS_HOST": "localhost:6379"}).unsupported == ("redis",)


def test_of_a_range_of_ports_the_first_is_used_and_the_rest_reported() -> None:
    config = load(KEYS + "rtc: {port_range_start: 50000, port_range_end: 60000}", environ={})
    assert (config.forwarder.listen.udp_port, config.unsupported) == (50000, ("rtc.port_range_end",))
    config = load(KEYS + "rtc: {udp_port: 7000-7010}", environ={})
    assert (config.forwarder.listen.udp_port, config.unsupported) == (7000, ("rtc.udp_port",))
    config = load(KEYS + "rtc: {udp_port: 7000, port_range_start: 50000, port_range_end: 60000}", environ={})
    assert (config.forwarder.listen.udp_port, config.unsupported) == (7000, ())


def test_the_forwarder_is_configured_by_it() -> None:
    config = load(EVERYTHING, environ={})
    assert config.forwarder == Config(
        listen=Listen(EVERYWHERE, 9000, 9001, ("198.51.100.1", "2001:db8::2")),
        media=Media(ice_lite=False, speaker_interval_ms=500, speaker_softest_dbov=30, speaker_least_percent=50),
    )
    both = load(KEYS + "rtc: {use_external_ip: true}", environ={})
    assert both.forwarder.listen.advertise_local, "as with LiveKit, unless external_ip_only is set"
    assert load(KEYS + "rtc: {tcp_port: 0}", environ={}).forwarder.listen.tcp_port is None


def test_older_names_go_on_to_work() -> None:
    text = "log_level: warn\nprometheus_port: 1\nroom: {max_metadata_size: 2, max_room_name_length: 3}"
    config = load(KEYS + text, environ={})
    assert (config.logging.level, config.prometheus.port) == ("warning", 1)
    assert (config.limit.max_metadata_size, config.limit.max_room_name_length) == (2, 3)


def test_scalars_stay_text_until_a_setting_says_otherwise() -> None:
    """PyYAML would make of these the numbers 83, 720 and 1000, a date and a boolean."""
    text = "keys: {a: 0123, b: 12:00, c: 1e3, d: 2001-01-01, e: yes}\nregion: no\nport: 0x10"
    with pytest.raises(ConfigError, match=r"^port: '0x10' is not a whole number"):
        load(text, environ={})
    config = load(text.replace("0x10", "'16'"), environ={})
    assert config.keys == {"a": "0123", "b": "12:00", "c": "1e3", "d": "2001-01-01", "e": "yes"}
    assert (config.region, config.port) == ("no", 16)


def test_yaml_merges_and_empty_sections_work() -> None:
    text = KEYS + "rtc:\nroom: &r\n  max_participants: 3\n"
    assert load(text, environ={}).room.max_participants == 3
    merged = "rtc: {turn_servers: [&a {host: a, port: 1, protocol: udp, secret: s}, {<<: *a, host: b}]}"
    assert [s.host for s in load(KEYS + merged, environ={}).rtc.turn_servers] == ["a", "b"]
    assert load(KEYS + "bind_addresses: ['']", environ={}).bind_addresses == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"^config: line \d+: "),
        ("a: b: c", r"^config: line 1: mapping values are not allowed here"),
        ("- a", r"^config: has to be lines of 'key: value'"),
        ("hello", r"^config: has to be lines"),
        ("port: 1\nport: 2", r"^config: line 2: 'port' is there twice"),
        ("? [a]\n: b", r"^config: line 1: a name has to be text"),
        ("port: !!python/object:os.system x", r"^config: line 1: "),
        (KEYS + "port: x", "^port: 'x' is not a whole number"),
        (KEYS + "port: 70000", "^port: 70000 is not between 0 and 65535"),
        (KEYS + "port: [1]", "^port: is one word"),
        (KEYS + "port: {a: 1}", "^port: is one word"),
        (KEYS + "bind_addresses: 127.0.0.1", "^bind_addresses: is a list"),
        (KEYS + "bind_addresses: [localhost]", "^bind_addresses: 'localhost' is not an IPv4 or IPv6 address"),
        (KEYS + "rtc: 7", "^rtc: has settings below it"),
        (KEYS + "rtc: {udp_port: 1-}", "^rtc.udp_port: '1-' is neither a port nor a range"),
        (KEYS + "rtc: {udp_port: 9-8}", "^rtc.udp_port: 9-8 ends before it begins"),
        (KEYS + "rtc: {udp_port: 70000}", "^rtc.udp_port: 70000 is not between"),
        (KEYS + "rtc: {node_ip: somewhere}", "^rtc.node_ip: 'somewhere' is not an IPv4 or IPv6 address"),
        (KEYS + "rtc: {node_ip: '192.0.2.1,192.0.2.2'}", "^rtc.node_ip: .* has more than one address of a family"),
        (KEYS + "rtc: {use_ice_lite: maybe}", "^rtc.use_ice_lite: 'maybe' is neither true nor false"),
        (KEYS + "rtc: {turn_servers: [{host: a, protocol: udp}]}", r"^rtc.turn_servers\[0\]: needs a secret"),
        (KEYS + "rtc: {turn_servers: [{host: a, secret: s}]}", r"^rtc.turn_servers\[0\].protocol: '' is not udp, tcp"),
        (KEYS + "room: {empty_timeout: -1}", "^room.empty_timeout: -1 is not between"),
        (KEYS + "turn: {enabled: true}", "^turn.enabled: needs turn.udp_port or turn.tls_port"),
        (KEYS + "turn: {enabled: true, tls_port: 5349}", "^turn.domain: "),
        (KEYS + "turn: {enabled: true, tls_port: 5349, domain: a}", "^turn.cert_file: "),
        (KEYS + "turn: {ttl_seconds: 0}", "^turn.ttl_seconds: 0 is not between 1 and 86400"),
        (KEYS + "turn: {relay_range_start: 2, relay_range_end: 1}", "^turn.relay_range_end: 1 is before"),
        (KEYS + "turn: {deny_peer_cidrs: [home]}", "^turn.deny_peer_cidrs: 'home' is not a network"),
        (KEYS + "webhook: {urls: ['ftp://a'], api_key: key}", "^webhook.urls: 'ftp://a' begins with neither"),
        (KEYS + "webhook: {urls: ['http://a']}", "^webhook.api_key: is not one of the keys"),
        (KEYS + "limit: {max_metadata_size: -1}", "^limit.max_metadata_size: -1 is less than nothing"),
        (KEYS + "limit: {num_tracks: -2}", "^limit.num_tracks: -2 is less than nothing"),
        (KEYS + "limit: {bytes_per_sec: nan}", "^limit.bytes_per_sec: nan is less than nothing"),
        (KEYS + "limit: {bytes_per_sec: much}", "^limit.bytes_per_sec: 'much' is not a number"),
        (KEYS + "logging: {level: loud}", "^logging.level: 'loud' is not debug, info, warning or error"),
        (KEYS + "prometheus: {port: -1}", "^prometheus.port: -1 is not between"),
        (KEYS + "audio: {active_level: 128}", "^audio.active_level: 128 is not between 0 and 127"),
        (KEYS + "audio: {update_interval: 1}", "^audio.update_interval: 1 is not between 50"),
        (KEYS + "video: {dynacast_pause_delay: 5}", "^video.dynacast_pause_delay: '5' is not a duration"),
        (KEYS + "video: {dynacast_pause_delay: 1.2.3s}", "^video.dynacast_pause_delay: '1.2.3s' is not a duration"),
        ("keys: [a]", "^keys: has lines of 'name: value'"),
        ("keys: {a: [b]}", "^keys.a: is one word"),
        ("keys: {a: }", "^keys.a: is one word"),
        ("keys: 'devkey:sesame'", "^keys: has to be lines of 'key: value', with a space"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(text, environ={})
    assert "sesame" not in str(caught.value)


def secret_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "secret.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_keys_may_be_in_a_file_which_stands_over_those_given(tmp_path: Path) -> None:
    path = secret_file(tmp_path, f"file: {SECRET}\n")
    assert load(KEYS + f"key_file: {path}", environ={}).keys == {"file": SECRET}
    environ = {"FOLDER": str(tmp_path), "HOME": str(tmp_path)}
    assert load("key_file: $FOLDER/secret.yaml", environ=environ).keys == {"file": SECRET}
    assert load("", environ={**environ, "LIVEKIT_KEY_FILE": str(path)}).keys == {"file": SECRET}


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o666])
def test_a_key_file_that_everybody_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, f"file: {SECRET}", mode)
    with pytest.raises(ConfigError, match=r"^key_file: .* by everybody; chmod o="):
        load(f"key_file: {path}", environ={})


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^key_file: .*missing cannot be read: No such file"):
        load(f"key_file: {tmp_path}/missing", environ={})
    path = tmp_path / "bytes"
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"^key_file: .*bytes cannot be read: not text"):
        load(f"key_file: {path}", environ={})
    with pytest.raises(ConfigError, match=r"^key_file: has to be lines"):
        load(f"key_file: {secret_file(tmp_path, 'just words')}", environ={})


def test_a_turn_servers_secret_may_be_in_a_file(tmp_path: Path) -> None:
    def servers(**more: Any) -> tuple[TurnServer, ...]:
        path = secret_file(tmp_path, more.pop("content", " hush \n"))
        server = {"host": "a", "port": "1", "protocol": "udp", "secret_file": str(path), **more}
        text = ", ".join(f"{name}: '{value}'" for name, value in server.items())
        return load(KEYS + f"rtc: {{turn_servers: [{{{text}}}]}}", environ={}).rtc.turn_servers

    assert servers()[0].secret == "hush"
    assert servers(secret="here")[0].secret == "here"
    with pytest.raises(ConfigError, match=r"^rtc.turn_servers\[0\].secret_file: is empty"):
        servers(content=" \n")


def test_no_secret_is_shown() -> None:
    text = EVERYTHING.replace("password: q", "password: hush1").replace("credential: c", "credential: hush2")
    shown = repr(load(text.replace("secret: s", "secret: hush3"), environ={}))
    assert "turn.example.com" in shown
    assert SECRET not in shown
    assert "hush" not in shown
