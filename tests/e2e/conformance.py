"""Runs tests with each of LiveKit's clients, and makes a table of what these can do.

A test in ``test_clients*.py`` that takes the fixture `join` or `trio` is a row, in the words of its name; a column is a
client. What a client cannot do by itself, with no server, is marked ``@pytest.mark.without("rust-dual", because="…")``
and becomes a note. ``CONFORMANCE=file pytest …`` writes what came of it, with ``ORACLE=program`` for LiveKit's own
server, and ``python -m tests.e2e.conformance ours theirs`` makes the table of both.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e.clients import CLIENTS
from tests.e2e.servers import ORACLE

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "pytest_collection_modifyitems",
    "pytest_generate_tests",
    "pytest_runtest_logreport",
    "pytest_runtest_makereport",
    "pytest_sessionfinish",
]

FIXTURES = ("join", "trio")

ROWS: dict[str, dict[str, Any]] = {}
"""By the names of tests: where it stands, the outcome by client, and why the others cannot."""

HEAD = """# What LiveKit's clients do here

Unmodified clients against a server that the tests start; both ends of a call are the same client. Made by
`make conformance` from `tests/e2e/test_clients*.py`: every "yes" is a test that passes, a "no" with a number is the
client's own. The last column is LiveKit's own server with the same clients and the same tests: "yes" where all pass
that are tried here, else those that do not; it has no word where a test looks into our server. The versions are those
in `tests/clients` and `requirements/dev.txt`.

"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test to every client that it is for."""
    if not metafunc.definition.path.name.startswith("test_clients"):
        return
    for fixture in FIXTURES:
        if fixture in metafunc.fixturenames:
            excluded = _excluded(metafunc.definition)
            # A trio is one for all its tests: they are for the same worker where there are several.
            marks = {client: [pytest.mark.xdist_group(client)] if fixture == "trio" else [] for client in CLIENTS}
            clients = [pytest.param(client, marks=marks[client]) for client in CLIENTS if client not in excluded]
            metafunc.parametrize(fixture, clients, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot be asked of LiveKit's server: what looks into ours."""
    if ORACLE:
        inside = [item for item in items if "host" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=inside)
        items[:] = [item for item in items if item not in inside]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say in a report which row and column it is of; it may be read in another process."""
    report = yield
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    client = next((parameters[name] for name in FIXTURES if parameters.get(name) in CLIENTS), None)
    if isinstance(item, pytest.Function) and client is not None:
        row = {"place": [*item.location[:2]], "client": client, "without": _excluded(item)}
        report.user_properties.append((item.originalname, row))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the outcome of each test with a client."""
    for name, told in report.user_properties:
        if isinstance(told, dict) and (report.when == "call" or report.failed):
            row = ROWS.setdefault(name, {"place": told["place"], "outcomes": {}, "without": told["without"]})
            if row["outcomes"].get(told["client"]) != "failed":
                row["outcomes"][told["client"]] = report.outcome


def pytest_sessionfinish() -> None:
    """Write what came of it where that is asked for."""
    path = os.environ.get("CONFORMANCE")
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    if path and ROWS and not is_worker:
        Path(path).write_text(json.dumps(ROWS, indent=1), encoding="utf-8")


def _excluded(node: pytest.Item | pytest.FunctionDefinition) -> dict[str, str]:
    return {client: mark.kwargs["because"] for mark in node.iter_markers("without") for client in mark.args}


def table(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """The table of both, with its notes."""
    notes: list[str] = []

    def cell(row: dict[str, Any], client: str) -> str:
        if (why := row["without"].get(client)) is None:
            return {"passed": "yes", "failed": "**fails**"}.get(row["outcomes"].get(client, ""), "")
        if why not in notes:
            notes.append(why)
        return f"no [{notes.index(why) + 1}]"

    lines = [["", *CLIENTS.values(), "LiveKit 1.11.0"], ["---"] * (len(CLIENTS) + 2)]
    for name, row in sorted(ours.items(), key=lambda one: one[1]["place"]):
        outcomes = theirs.get(name, {}).get("outcomes", {})
        failed = [client for client in CLIENTS if outcomes.get(client) == "failed"]
        oracle = "" if not outcomes else f"fails: {', '.join(failed)}" if failed else "yes"
        words = name.removeprefix("test_").replace("_", " ")
        lines.append([words, *(cell(row, client) for client in CLIENTS), oracle])
    text = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    return HEAD + text + "".join(f"\n[{number}] {note}\n" for number, note in enumerate(notes, 1))


if __name__ == "__main__":
    print(table(*(json.loads(Path(path).read_text(encoding="utf-8")) for path in sys.argv[1:])), end="")
