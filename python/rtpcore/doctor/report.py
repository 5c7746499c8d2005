"""What was found: a line for each leg, for eyes (80 columns) or for machines (JSON)."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Finding", "as_json", "as_table", "is_healthy"]

Verdict = Literal["ok", "failed", "warning", "unknown"]

_WIDTH, _LEGS, _VERDICTS = 80, 14, 7


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about one leg.

    Attributes:
        leg: What was looked at, such as ``ICE over UDP``.
        verdict: ``failed`` is what has to be mended, ``unknown`` what cannot be seen from here or was not asked for.
        words: What was seen.
        advice: What to do about it; empty where there is nothing to do.
    """

    leg: str
    verdict: Verdict
    words: str
    advice: str = ""


def is_healthy(findings: Iterable[Finding]) -> bool:
    """Whether nothing has failed."""
    return all(finding.verdict != "failed" for finding in findings)


def as_table(findings: Iterable[Finding]) -> str:
    """Lines of at most 80 columns.

    >>> print(as_table([Finding("ICE over UDP", "failed", "no answer", "open the port")]))
    ICE over UDP   failed  no answer
                           -> open the port
    """
    indent = " " * (_LEGS + _VERDICTS + 2)
    lines = []
    for finding in findings:
        head = f"{finding.leg:<{_LEGS}} {finding.verdict:<{_VERDICTS}} "
        lines += textwrap.wrap(finding.words, _WIDTH, initial_indent=head, subsequent_indent=indent) or [head.rstrip()]
        if finding.advice:
            lines += textwrap.wrap(
                finding.advice, _WIDTH, initial_indent=f"{indent}-> ", subsequent_indent=f"{indent}   "
            )
    return "\n".join(lines)


def as_json(findings: Iterable[Finding]) -> str:
    """One object: whether all is well, and every finding."""
    told = list(findings)
    return json.dumps({"ok": is_healthy(told), "findings": [asdict(finding) for finding in told]}, indent=2)
