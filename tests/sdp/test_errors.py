"""The exception tree."""

from __future__ import annotations

import pickle

import pytest

from rtpcore import errors


@pytest.mark.parametrize(
    ("error", "builtin", "text"),
    [
        (errors.ConfigError("a.b", "is wrong"), ValueError, "a.b: is wrong"),
        (errors.ParametersError("no BUNDLE", "use it"), ValueError, "no BUNDLE (use it)"),
        (errors.ParametersError("no BUNDLE"), ValueError, "no BUNDLE"),
        (errors.BindError("::", 1, 13, "Permission denied"), OSError, "cannot bind :: port 1: Permission denied"),
        (errors.ClosedError("transport"), errors.RtpcoreError, "the transport is closed"),
        (errors.LimitError("transports", 7), errors.RtpcoreError, "more than 7 transports"),
        (errors.ProtocolError("a token", 3), errors.RtpcoreError, "line 3: expected a token"),
        (errors.ProtocolError("a token"), errors.RtpcoreError, "expected a token"),
        (errors.TokenError("the token has expired"), errors.RtpcoreError, "the token has expired"),
    ],
)
def test_each_error_has_its_base_its_words_and_survives_pickling(
    error: errors.RtpcoreError, builtin: type[Exception], text: str
) -> None:
    """Facts are attributes, the message comes from them."""
    assert isinstance(error, errors.RtpcoreError)
    assert isinstance(error, builtin)
    assert str(error) == text
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (text, vars(error))


def test_a_bind_error_has_the_number_that_callers_of_oserror_look_for() -> None:
    """`except OSError as error: error.errno` goes on to work."""
    error = errors.BindError("0.0.0.0", 7882, 98, "Address already in use")
    assert (error.errno, error.strerror, error.address, error.port) == (98, "Address already in use", "0.0.0.0", 7882)
