"""The front of the load generator, without the program behind it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from bench.loads import Shape, rows

from rtpcore import cli
from rtpcore.bench_load import LoadError, Wish, find_binary
from rtpcore.bench_load.plot import delay_over_load
from rtpcore.bench_load.process import Account
from rtpcore.bench_load.running import Percentiles, figures
from rtpcore.bench_load.table import table
from rtpcore.wire.token import Keyring

WISH = Wish("ws://x", "key", "secret", rooms=2, publishers=2, subscribers=3, video_publishers=1)
RESULT = {
    "event": "result",
    "clients": 10,
    "ready": 9,
    "failures": [{"reason": "sent away", "count": 1}],
    "seconds": 2.0,
    "sent_per_s": 100.0,
    "received_per_s": 500.0,
    "received": 1000,
    "expected": 1001,
    "lost": 1,
    "reordered": 0,
    "repaired": 0,
    "delay_ms": {"samples": 10, "p50": 0.5, "p99": 1.5, "p999": 1.6, "max": 2.0},
    "join_ms": {"samples": 10, "p50": 5.0, "p99": 9.0, "p999": 9.0, "max": 9.0},
    "ice_ms": None,
    "media_ms": None,
    "late_ms": None,
    "load": 0.25,
}


def test_publishers_come_first_and_tokens_are_for_their_rooms() -> None:
    clients = WISH.to_plan(now=1000.0)["clients"]
    assert len(clients) == WISH.clients == 10
    assert [one.get("audio", False) for one in clients] == [True] * 4 + [False] * 6
    assert [one.get("video", False) for one in clients] == [True] * 2 + [False] * 8
    assert [one["subscribes"] for one in clients] == [False] * 4 + [True] * 6
    claims = [Keyring({"key": "secret"}, allow_short=True).verify(one["token"], 1000.0) for one in clients]
    assert [one.video.room for one in claims if one.video is not None] == [one["room"] for one in clients]
    assert len({(one["room"], claim.identity) for one, claim in zip(clients, claims, strict=True)}) == 10


def test_the_servers_cost_is_of_the_time_that_was_measured() -> None:
    told = figures(WISH, RESULT, [Account(1.0, 10_000), Account(5.0, 16_000), Account(5.5, 17_000)])
    assert told.server_cores == pytest.approx(0.25)
    assert told.cpu_us_per_packet == pytest.approx(500.0)
    assert told.memory_kb_per_subscriber == pytest.approx(1000.0)
    assert told.delay_ms == Percentiles(10, 0.5, 1.5, 1.6, 2.0)
    assert figures(WISH, RESULT, []).cpu_us_per_packet is None
    assert figures(WISH, {**RESULT, "received": 0}, [Account(0, 0)] * 3).cpu_us_per_packet is None


def test_a_table_has_a_column_for_each_step_and_no_empty_line() -> None:
    told = figures(WISH, RESULT, [])
    lines = table([told, replace(told, lost=20)]).splitlines()
    assert next(line.split() for line in lines if line.startswith("lost")) == ["lost", "1", "20"]
    assert not any(line.startswith(("server", "to media")) for line in lines)
    assert len({len(line) for line in lines}) == 1


def test_a_plot_has_a_point_for_each_step_with_delays() -> None:
    told = figures(WISH, RESULT, [])
    drawn = ET.fromstring(delay_over_load([told, replace(told, received_per_s=900.0), replace(told, delay_ms=None)]))
    assert len(drawn.findall("{http://www.w3.org/2000/svg}circle")) == 4
    ET.fromstring(delay_over_load([]))


def test_a_program_that_is_not_there_is_told_with_how_to_build_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LoadError, match=r"cargo build --release -p rtpcore-load"):
        find_binary(str(tmp_path / "rtpcore-load"))
    where = ["--url", "ws://x", "--key", "k", "--secret", "s", "--binary", str(tmp_path / "none")]
    assert cli.main(["bench", "load", *where]) == 1
    assert "cargo build" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--seconds", "0"], ["--rooms", "0"], ["--steps", "1,x"], ["--join-rate", "nan"]])
def test_a_wrong_number_is_a_wrong_command_line(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["bench", "load", "--url", "ws://x", "--key", "k", "--secret", "s", *wrong])
    assert wrong[0] in capsys.readouterr().err


def test_shapes_are_rooms_by_subscribers() -> None:
    wish = Shape.parse("10x50-audio").wish("ws://x", 1, 5, 50)
    assert (wish.rooms, wish.publishers, wish.subscribers, wish.audio, wish.video) == (10, 1, 50, True, False)
    meeting = Shape.parse("1x50-meeting").wish("ws://x", 1, 5, 50)
    assert (meeting.publishers, meeting.subscribers, meeting.video_publishers, meeting.watching) == (50, 0, 6, 50)
    for text in ("1x200", "0x5-audio", "1x5-storm"):
        with pytest.raises(ValueError, match="is not a shape"):
            Shape.parse(text)


def test_rows_leave_out_what_was_not_measured() -> None:
    told = rows("1x3-video/livekit", figures(WISH, RESULT, []))
    assert "load/1x3-video/livekit/delay_p99_ms 1.5 ms" in told
    assert not any("cpu" in line for line in told)
