import json
from pathlib import Path

import pytest
from bench.rows import BOUNDS, Bound, Row, readable, write


def test_a_bound_holds_on_its_own_side_and_at_its_limit():
    assert [Bound(1.3).holds(value) for value in (1.2, 1.3, 1.4)] == [True, True, False]
    assert [Bound(50, at_least=True).holds(value) for value in (49, 50, 51)] == [False, True, True]


def test_rows_without_a_bound_have_no_verdict():
    row = Row.parse("video_floor_us 1.869027 us")
    assert row == Row("video_floor_us", 1.869027, "us")
    assert row.bound is None
    assert row.holds is None


def test_what_is_written_is_json_with_a_verdict_per_row(tmp_path: Path):
    path = tmp_path / "results" / "bench.json"
    write(path, {"cpu": "a"}, [Row("two_worker_scaling", 1.5, "x"), Row("video_floor_us", 2.0, "us")])
    written = json.loads(path.read_text())
    assert written["machine"] == {"cpu": "a"}
    assert written["rows"] == [
        {"name": "two_worker_scaling", "value": 1.5, "unit": "x", "bound": ">= 1.8", "holds": False},
        {"name": "video_floor_us", "value": 2.0, "unit": "us", "bound": None, "holds": None},
    ]


def test_the_committed_results_have_every_bounded_row():
    committed = Path(__file__).parent.parent / "bench" / "results" / "bench.json"
    rows = {row["name"]: row for row in json.loads(committed.read_text())["rows"]}
    assert BOUNDS.keys() <= rows.keys()
    assert {name: rows[name]["bound"] for name in BOUNDS} == {name: str(bound) for name, bound in BOUNDS.items()}


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.00031, "0.00031"), (1.8690, "1.87"), (385.13, "385.1"), (385133.2, "385,133")]
)
def test_figures_are_shown_with_three_digits_or_so(value: float, text: str):
    assert readable(value) == text
