"""Everything that rtpcore raises, in one tree.

::

    RtpcoreError
    ├── ConfigError      (ValueError)  a setting is wrong, unknown or contradicts another
    ├── ParametersError  (ValueError)  well-formed, but not something this core can do: says what to change
    ├── BindError        (OSError)     a socket could not be bound
    ├── ClosedError                    the object was closed before this call
    ├── LimitError                     a bound on what one peer may cause was reached
    ├── ProtocolError                  text or bytes from a peer break the grammar they claim to follow
    ├── JoinError                      somebody may not come in, with the HTTP status that says why
    ├── RpcFailure                     a participant's client did not do what it was called for
    └── TokenError                     an access token proves nothing: forged, expired or not one at all

`rtpcore.wire.twirp` has one more, for calls of the server API that fail, and `rtpcore.bench_load` one for loads.

Facts are attributes and the message is made from them, so that nobody has to take a message apart. All of them
survive pickling. No message quotes what a peer sent: it may hold addresses and passwords.
"""

from __future__ import annotations

__all__ = [
    "BindError",
    "ClosedError",
    "ConfigError",
    "JoinError",
    "LimitError",
    "ParametersError",
    "ProtocolError",
    "RpcFailure",
    "RtpcoreError",
    "TokenError",
]


class RtpcoreError(Exception):
    """What every exception of this package is."""


class ConfigError(RtpcoreError, ValueError):
    """A setting is wrong.

    Attributes:
        setting: Its dotted name, as in TOML: ``listen.port``.
        problem: What is wrong with it, and what would be right.

    >>> str(ConfigError("listen.port", "70000 is not between 0 and 65535"))
    'listen.port: 70000 is not between 0 and 65535'
    """

    def __init__(self, setting: str, problem: str) -> None:
        """Name the setting and the problem."""
        super().__init__(setting, problem)
        self.setting = setting
        self.problem = problem

    def __str__(self) -> str:
        """The setting, then the problem."""
        return f"{self.setting}: {self.problem}"


class ParametersError(RtpcoreError, ValueError):
    """Media or transport parameters are understood, yet nothing can be built from them.

    Attributes:
        problem: What does not fit.
        advice: What the caller or the peer can change, perhaps empty.

    >>> str(ParametersError("the offer has no BUNDLE group", "set bundlePolicy to max-bundle"))
    'the offer has no BUNDLE group (set bundlePolicy to max-bundle)'
    """

    def __init__(self, problem: str, advice: str = "") -> None:
        """Name the problem, and if possible the way out."""
        super().__init__(problem, advice)
        self.problem = problem
        self.advice = advice

    def __str__(self) -> str:
        """The problem, with the advice in brackets."""
        return f"{self.problem} ({self.advice})" if self.advice else self.problem


class BindError(RtpcoreError, OSError):
    """A socket could not be bound.

    Attributes:
        address: The address asked for.
        port: The port asked for.
        errno: The system's error number.
        strerror: The system's words for it.

    >>> str(BindError("0.0.0.0", 7882, 98, "Address already in use"))
    'cannot bind 0.0.0.0 port 7882: Address already in use'
    """

    def __init__(self, address: str, port: int, errno: int, strerror: str) -> None:
        """Name the socket and the system's complaint."""
        super().__init__(errno, strerror)
        self.address = address
        self.port = port

    def __reduce__(self) -> tuple[type[BindError], tuple[str, int, int | None, str | None]]:
        """Pickle with all four facts; OSError would keep two."""
        return (type(self), (self.address, self.port, self.errno, self.strerror))

    def __str__(self) -> str:
        """The socket, then the system's words."""
        return f"cannot bind {self.address} port {self.port}: {self.strerror}"


class ClosedError(RtpcoreError):
    """The object was closed before this call.

    Attributes:
        what: What is closed, such as ``transport``.

    >>> str(ClosedError("transport"))
    'the transport is closed'
    """

    def __init__(self, what: str) -> None:
        """Name what is closed."""
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        """What is closed."""
        return f"the {self.what} is closed"


class LimitError(RtpcoreError):
    """A bound was reached.

    Attributes:
        what: What there would be too much of, in the plural.
        limit: How much there may be.

    >>> str(LimitError("transports", 1000))
    'more than 1000 transports'
    """

    def __init__(self, what: str, limit: int) -> None:
        """Name the bound and its value."""
        super().__init__(what, limit)
        self.what = what
        self.limit = limit

    def __str__(self) -> str:
        """The bound that was reached."""
        return f"more than {self.limit} {self.what}"


class ProtocolError(RtpcoreError):
    """Text or bytes from a peer break the grammar they claim to follow.

    Attributes:
        expected: What should have been there.
        line: Where, counted from 1; None where there are no lines.

    >>> str(ProtocolError("a=mid with a token", line=7))
    'line 7: expected a=mid with a token'
    """

    def __init__(self, expected: str, line: int | None = None) -> None:
        """Say what was expected, and where."""
        super().__init__(expected, line)
        self.expected = expected
        self.line = line

    def __str__(self) -> str:
        """The place, then what was expected there."""
        where = "" if self.line is None else f"line {self.line}: "
        return f"{where}expected {self.expected}"


class TokenError(RtpcoreError):
    """An access token is refused.

    Attributes:
        reason: Why, for the body of a 401. Nothing of the token itself.

    >>> str(TokenError("the token has expired"))
    'the token has expired'
    """

    def __init__(self, reason: str) -> None:
        """Say why."""
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """Why."""
        return self.reason


class JoinError(RtpcoreError):
    """Somebody may not come in.

    Attributes:
        status: The HTTP status that clients understand.
        reason: The text they are given.

    >>> str(JoinError(503, "the room is full"))
    'the room is full'
    """

    def __init__(self, status: int, reason: str) -> None:
        """Say why, in a client's words."""
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        """The reason."""
        return self.reason


class RpcFailure(RtpcoreError):
    """A participant's client did not do what it was called for.

    Attributes:
        code: LiveKit's code of the reason: 1400 to 1404 by the recipient, 1500 to 1505 on the way, others its own.
        message: The same in words.
        data: What the method says of its failure.

    >>> str(RpcFailure(1502, "Response timeout"))
    '1502: Response timeout'
    """

    def __init__(self, code: int, message: str, data: str = "") -> None:
        """Say what went wrong."""
        super().__init__(code, message, data)
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        """Code and words."""
        return f"{self.code}: {self.message}"
