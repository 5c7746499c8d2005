"""Runs tests with each of LiveKit's clients; ``CONFORMANCE=file pytest …`` writes what these can do as a table.

A test that takes the fixture `join` is a row, in the words of its name; a column is a client. What a client cannot do
by itself, with no server, is marked ``@pytest.mark.without("rust-dual", because="…")`` and becomes a note.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.e2e.clients import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["pytest_generate_tests", "pytest_runtest_makereport", "pytest_sessionfinish"]

ROWS: dict[str, dict[str, str]] = {}
NOTES: list[str] = []

HEAD = """# What LiveKit's clients do here

Unmodified clients against a server that the tests start; both ends of a call are the same client. Made by
`make conformance` from `tests/e2e/test_clients.py`: every "yes" is a test that passes, a "no" with a number is the
client's own. The versions are those in `tests/clients` and `requirements/dev.txt`.

"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test to every client that it is for."""
    if "join" not in metafunc.fixturenames:
        return
    excluded: set[str] = set()
    row = _row(metafunc.definition.name)
    for mark in metafunc.definition.iter_markers("without"):
        excluded |= set(mark.args)
        for client in mark.args:
            row[client] = f"no [{_note(mark.kwargs['because'])}]"
    metafunc.parametrize("join", [client for client in CLIENTS if client not in excluded], indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the outcome of each test with a client."""
    report = yield
    call = getattr(item, "callspec", None)
    if call is not None and "join" in call.params and (report.when == "call" or report.failed):
        row, client = _row(item.originalname), call.params["join"]
        row[client] = "**fails**" if report.failed else row.get(client, "yes")
    return report


def pytest_sessionfinish() -> None:
    """Write the table where one is asked for."""
    path = os.environ.get("CONFORMANCE")
    if not path:
        return
    lines = [["", *CLIENTS.values()], ["---"] * (len(CLIENTS) + 1)]
    lines += [[row, *(cells.get(client, "") for client in CLIENTS)] for row, cells in ROWS.items()]
    table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    notes = "".join(f"\n[{number}] {note}\n" for number, note in enumerate(NOTES, 1))
    Path(path).write_text(HEAD + table + notes, encoding="utf-8")


def _row(name: str) -> dict[str, str]:
    return ROWS.setdefault(name.removeprefix("test_").replace("_", " "), {})


def _note(text: str) -> int:
    if text not in NOTES:
        NOTES.append(text)
    return NOTES.index(text) + 1
