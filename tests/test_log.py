"""What is written down, and what is not."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtpcore import log
from rtpcore.livekit_config import load
from rtpcore.log import JsonFormatter, Pii, TextFormatter

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJrZXkifQ.c2lnbmF0dXJl"


@pytest.fixture
def written(own_logging: None) -> Callable[..., str]:
    """Logs one record and gives what came out of it."""

    def write(message: str, *told: Any, extra: dict[str, Any] | None = None, **settings: Any) -> str:
        stream = io.StringIO()
        log.configure(
            level=settings.get("level", "info"),
            as_json=settings.get("as_json", False),
            shows_pii=settings.get("shows_pii", False),
            stream=stream,
        )
        logging.getLogger("rtpcore.test").info(message, *told, extra=extra)
        return stream.getvalue()

    return write


def test_what_says_who_somebody_is_stays_out_unless_asked_for(written: Callable[..., str]) -> None:
    told = ("%s has room %s and came from %s with %s", Pii("ada"), "RM_1", "192.0.2.7:50000", TOKEN)
    hidden = written(*told)
    assert "RM_1" in hidden
    assert not [word for word in ("ada", "192.0.2.7", TOKEN) if word in hidden]
    shown = written(*told, shows_pii=True)
    assert all(word in shown for word in ("ada", "RM_1", "192.0.2.7:50000", TOKEN))


def test_json_is_one_object_a_line_with_what_was_added(written: Callable[..., str]) -> None:
    line = written("%s\nleft", Pii("ada"), extra={"room": "RM_1", "who": Pii("ada"), "count": 3}, as_json=True)
    assert line.count("\n") == 1
    told = json.loads(line)
    assert told.pop("time").endswith("Z")
    assert told == {
        "level": "info",
        "logger": "rtpcore.test",
        "message": "(hidden)\nleft",
        "room": "RM_1",
        "who": "(hidden)",
        "count": 3,
    }
    shown = json.loads(written("x", extra={"who": Pii("ada")}, as_json=True, shows_pii=True))
    assert shown["who"] == "ada"


def test_below_the_level_nothing_is_written(written: Callable[..., str]) -> None:
    assert written("x", level="warning") == ""


@pytest.mark.parametrize("kind", [TextFormatter, JsonFormatter])
def test_exceptions_say_where_and_not_what(kind: type[TextFormatter]) -> None:
    try:
        raise KeyError("ada")
    except KeyError as error:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "it broke", (), (KeyError, error, error.__traceback__))
    hidden = kind().format(record)
    assert "KeyError" in hidden
    assert "test_log.py" in hidden
    assert "'ada'" not in hidden
    assert "'ada'" in kind(shows_pii=True).format(record)


ADDRESSES = st.ip_addresses().filter(lambda address: not address.is_unspecified)


@given(ADDRESSES, st.sampled_from(["", ":443", ".", ",", ")", " and"]))
def test_every_address_is_covered(address: Any, after: str) -> None:
    after = "" if address.version == 6 and after == ":443" else after
    message = TextFormatter().message_of(logging.makeLogRecord({"msg": f"from ({address}{after}"}))
    assert str(address) not in message.replace("(hidden)", "")
    assert "(hidden)" in message


@pytest.mark.parametrize("text", ["at 12:34:56", "version 1.13.11", "a:b", "TR_AMabc", "0.5 s", "::", "12 of 34."])
def test_what_is_no_address_is_left_as_it_is(text: str) -> None:
    if text == "::":
        text = "std::net"
    assert TextFormatter().message_of(logging.makeLogRecord({"msg": text})) == text


def test_the_configuration_says_so() -> None:
    assert not load("logging: {json: true}", environ={}, is_dev=True).logging.pii
    told = load("logging: {json: true, pii: true}", environ={}, is_dev=True).logging
    assert (told.json, told.pii) == (True, True)
