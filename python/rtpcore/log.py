"""How what happened is written down: as text or as JSON, and without what says who a participant is.

Sids and transport ids are in logs; addresses, identities, names of rooms, metadata and tokens are not, unless
``logging.pii`` asks for them. Whoever logs such a thing wraps it: ``logger.info("room %s is %s", sid, Pii(name))``.
What comes from elsewhere, such as a peer's address in a line of aiohttp's, is covered by its looks, and the words of an
exception that nobody foresaw are left out. Only `rtpcore.serve` configures logging; an application that embeds
rtpcore has its own.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import sys
import traceback
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["JsonFormatter", "Pii", "TextFormatter", "configure"]

_HIDDEN = "(hidden)"

_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
_ADDRESS = re.compile(r"(?<![\w:.])[0-9A-Fa-f:.]*[0-9A-Fa-f][0-9A-Fa-f:.]*(?![\w:])")


@dataclass(frozen=True, slots=True)
class Pii:
    """Something that says who somebody is: logs show it only where they are asked to.

    >>> print(Pii("ada"))
    (hidden)
    """

    value: object

    def __str__(self) -> str:
        """Say nothing, lest it be forgotten somewhere."""
        return _HIDDEN

    __repr__ = __str__


class TextFormatter(logging.Formatter):
    """One line of text for each record, and a traceback below it where there is one.

    >>> record = logging.LogRecord("rtpcore", logging.INFO, "", 0, "%s from 192.0.2.7:5004", (Pii("ada"),), None)
    >>> TextFormatter().message_of(record)
    '(hidden) from (hidden):5004'
    >>> TextFormatter(shows_pii=True).message_of(record)
    'ada from 192.0.2.7:5004'
    """

    def __init__(self, *, shows_pii: bool = False) -> None:
        """Show what is personal, or hide it."""
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._shows_pii = shows_pii

    def message_of(self, record: logging.LogRecord) -> str:
        """What the record says, as far as it may."""
        arguments = record.args
        if self._shows_pii and arguments:
            if isinstance(arguments, tuple):
                arguments = tuple(_shown(value) for value in arguments)
            else:
                arguments = {name: _shown(value) for name, value in arguments.items()}
        message = str(record.msg) % arguments if arguments else str(record.msg)
        return message if self._shows_pii else _cover(message)

    def trace_of(self, record: logging.LogRecord) -> str:
        """Where an exception came from; what it says only where that may be shown. Empty for none."""
        kind, error, trace = record.exc_info or (None, None, None)
        if kind is None or error is None:
            return ""
        if self._shows_pii:
            return "".join(traceback.format_exception(kind, error, trace)).rstrip()
        frames = "".join(traceback.format_tb(trace))
        return f"Traceback (most recent call last):\n{frames}{kind.__name__}: {_HIDDEN}"

    def format(self, record: logging.LogRecord) -> str:
        """Make the line."""
        head = f"{self.formatTime(record)} {record.levelname} {record.name}: {self.message_of(record)}"
        trace = self.trace_of(record)
        return f"{head}\n{trace}" if trace else head


class JsonFormatter(TextFormatter):
    """One JSON object for each record, on one line: time, level, logger, message, and whatever ``extra`` gave.

    >>> record = logging.LogRecord("rtpcore", logging.INFO, "", 0, "room %s", ("RM_1",), None)
    >>> sorted(json.loads(JsonFormatter().format(record)))
    ['level', 'logger', 'message', 'time']
    """

    def format(self, record: logging.LogRecord) -> str:
        """Make the object."""
        at = datetime.fromtimestamp(record.created, timezone.utc)
        told: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message_of(record),
        }
        for name, value in vars(record).items():
            if name not in _USUAL and name not in told:
                shown = _shown(value) if self._shows_pii else value
                is_plain = shown is None or isinstance(shown, bool | int | float)
                told[name] = shown if is_plain else str(shown) if self._shows_pii else _cover(str(shown))
        if trace := self.trace_of(record):
            told["trace"] = trace
        return json.dumps(told, ensure_ascii=False)


def configure(*, level: str, as_json: bool, shows_pii: bool, stream: TextIO | None = None) -> None:
    """Let every logger of this process write to one stream.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``; nothing below is written.
        as_json: One object a line instead of text.
        shows_pii: Write what says who somebody is, too.
        stream: Where to; standard error by default.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter((JsonFormatter if as_json else TextFormatter)(shows_pii=shows_pii))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _shown(value: object) -> object:
    return value.value if isinstance(value, Pii) else value


def _cover(text: str) -> str:
    """Cover what looks like an access token or an address."""
    return _ADDRESS.sub(_covered, _TOKEN.sub(_HIDDEN, text))


def _covered(found: re.Match[str]) -> str:
    word = found[0]
    # A full stop or colon may end a sentence, and a port may follow an IPv4 address.
    for candidate in (word, word.rstrip("."), word.rstrip(".:"), word.rpartition(":")[0]):
        try:
            ipaddress.ip_address(candidate)
        except ValueError:
            continue
        return _HIDDEN + word[len(candidate) :]
    return word


_USUAL = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
"""What every record has besides what ``extra`` adds."""
