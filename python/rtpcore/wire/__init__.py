"""LiveKit's protocol: bytes to values and back. No I/O, no clock, no environment.

::

    query of /rtc ──join.parse──▶ JoinParameters
    access token ──token.Keyring.verify──▶ Claims        Claims ──issue──▶ refresh token
    frame ──signal.decode──▶ SignalRequest               SignalResponse ──signal.encode──▶ frame
    HTTP body ──twirp.decode──▶ message                  message ──twirp.encode──▶ HTTP body

`messages` is where the messages come from, `ids` names what is new. What a message means is decided above.
"""
