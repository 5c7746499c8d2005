"""``rtpcore doctor``: what keeps a call from working, leg by leg.

::

    configuration ─ ports ─ addresses ─ clock ─ certificate      checks: of this machine
    HTTP ─ token ─ websocket ─ TURN ─ ICE ─ DTLS ─ media         call: two clients that really call each other

The clients are rtpcore's own forwarder turned round, so that nothing else has to be installed.
"""

from rtpcore.doctor.examination import Examination, examine
from rtpcore.doctor.report import Finding, as_json, as_table, is_healthy

__all__ = ["Examination", "Finding", "as_json", "as_table", "examine", "is_healthy"]
