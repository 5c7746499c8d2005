"""From text, environment and command line to a `LiveKitConfig`, and the files it names."""

from __future__ import annotations

import stat
import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rtpcore.config import environment
from rtpcore.errors import ConfigError
from rtpcore.livekit_config.reading import Reader, Tree, put, read_yaml, scalars
from rtpcore.livekit_config.sections import LiveKitConfig, TurnServer
from rtpcore.livekit_config.unsupported import LATER, UNSUPPORTED

DEV_KEYS: Mapping[str, str] = {"devkey": "secret"}
"""What ``--dev`` signs with where no keys are given; LiveKit's tools use the same pair. Everybody knows it."""


def load(
    text: str = "",
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    is_dev: bool = False,
    is_strict: bool = True,
) -> LiveKitConfig:
    """Read a configuration, with the files that it names.

    Args:
        text: The YAML of ``--config`` or ``--config-body``; if it is empty, that of LIVEKIT_CONFIG. (LiveKit lets that
            stand over ``--config``. Here the command line is over the environment, as with every other setting.)
        environ: The environment; None for the process's.
        overrides: Settings by dotted name, from the command line: text, or lists of text.
        is_dev: As by ``--dev``.
        is_strict: Refuse unknown names instead of listing them in `unsupported`.

    Raises:
        ConfigError: A setting is wrong or unknown, a file cannot be read, or there are no keys.

    >>> config = load("room: {empty_timeout: 60}", environ={"LIVEKIT_RTC_TCP_PORT": "443"}, is_dev=True)
    >>> config.room.empty_timeout_s, config.rtc.tcp_port, config.keys, config.forwarder.listen.addresses
    (60, 443, {'devkey': 'secret'}, ('127.0.0.1',))
    """
    environ = environment() if environ is None else environ
    tree = read_yaml(text or environ.get("LIVEKIT_CONFIG", ""), "config")
    _modernise(tree)
    for name, value in _from_environment(environ):
        put(tree, name, value)
    for name, value in (overrides or {}).items():
        put(tree, name, value)
    if isinstance(tree.get("keys"), str):
        tree["keys"] = read_yaml(tree["keys"], "keys")
    if is_dev:
        tree["development"] = "true"
    reader = Reader(LiveKitConfig, UNSUPPORTED, is_strict)
    _complete(tree, environ, reader)
    config = reader.build(LiveKitConfig, tree)
    reader.unsupported += [name for name in LATER if _is_given(tree, name)]
    if config.rtc.port_range_end > config.rtc.port_range_start and not config.rtc.udp_ports[0]:
        reader.unsupported.append("rtc.port_range_end")
    if config.rtc.udp_ports[0] != config.rtc.udp_ports[1]:
        reader.unsupported.append("rtc.udp_port")
    servers = tuple(_with_secret(server, environ, index) for index, server in enumerate(config.rtc.turn_servers))
    unsupported = tuple(dict.fromkeys([*reader.unsupported, *reader.unknown]))
    return replace(config, rtc=replace(config.rtc, turn_servers=servers), unsupported=unsupported)


def _is_given(tree: Tree, name: str) -> bool:
    place: Any = tree
    for part in name.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    return place is not None


def _modernise(tree: Tree) -> None:
    """Move what older versions had elsewhere."""
    for old, new in _MOVED.items():
        *parents, last = old.split(".")
        place: Any = tree
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if isinstance(place, dict) and last in place:
            put(tree, new, place.pop(last))


def _from_environment(environ: Mapping[str, str]) -> list[tuple[str, Any]]:
    names = {f"LIVEKIT_{path.upper().replace('.', '_')}": path for path in scalars(LiveKitConfig)} | _ENVIRONMENT
    return [(path, environ[name]) for name, path in names.items() if environ.get(name)]


def _complete(tree: Tree, environ: Mapping[str, str], reader: Reader) -> None:
    """Fill in keys and what follows from ``--dev``."""
    if isinstance(key_file := tree.get("key_file"), str) and key_file:
        tree["keys"] = read_yaml(_read_secret("key_file", key_file, environ), "key_file")
    if isinstance(addresses := tree.get("bind_addresses"), list):
        # LiveKit's generator writes an empty one for everywhere.
        tree["bind_addresses"] = [address for address in addresses if address]
    is_dev = reader.build(_Development, {"development": tree.get("development")}).development
    if is_dev:
        if not tree.get("keys"):
            tree["keys"] = dict(DEV_KEYS)
            if not tree.get("bind_addresses"):
                tree["bind_addresses"] = ["127.0.0.1", "::1"]
        if not (isinstance(tree.get("logging"), dict) and tree["logging"].get("level")):
            put(tree, "logging.level", "debug")
    elif not tree.get("keys"):
        raise ConfigError("keys", "name at least one: LIVEKIT_KEYS='key: secret', or --dev to try things out")
    if isinstance(logging := tree.get("logging"), dict) and logging.get("level") == "warn":
        put(tree, "logging.level", "warning")


@dataclass(frozen=True, slots=True)
class _Development:
    """The one setting on which defaults depend."""

    development: bool = False


def _with_secret(server: TurnServer, environ: Mapping[str, str], index: int) -> TurnServer:
    if server.secret.strip() or not server.secret_file:
        return replace(server, secret=server.secret.strip())
    name = f"rtc.turn_servers[{index}].secret_file"
    secret = _read_secret(name, server.secret_file, environ).strip()
    if not secret:
        raise ConfigError(name, "is empty")
    return replace(server, secret=secret)


def _read_secret(name: str, path: str, environ: Mapping[str, str]) -> str:
    """Read a file that others must not be able to. ``$NAME`` in its path is of the environment."""
    file = Path(string.Template(path).safe_substitute(environ)).expanduser()
    try:
        if file.stat().st_mode & stat.S_IRWXO:
            raise ConfigError(name, f"{file} can be read or changed by everybody; chmod o= keeps its secrets")
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(name, f"{file} cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from None


_MOVED = {
    "log_level": "logging.level",
    "prometheus_port": "prometheus.port",
    "room.max_metadata_size": "limit.max_metadata_size",
    "room.max_participant_identity_length": "limit.max_participant_identity_length",
    "room.max_room_name_length": "limit.max_room_name_length",
}
_ENVIRONMENT = {
    "LIVEKIT_KEYS": "keys",
    "LIVEKIT_REGION": "region",
    "LIVEKIT_TURN_CERT": "turn.cert_file",
    "LIVEKIT_TURN_KEY": "turn.key_file",
    "NODE_IP": "rtc.node_ip",
    "UDP_PORT": "rtc.udp_port",
    "REDIS_HOST": "redis.address",
    "REDIS_PASSWORD": "redis.password",
}
