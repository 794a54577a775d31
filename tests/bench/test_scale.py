"""The bench of a million applications runs to its end, on few of them."""

import re

from bench import scale, scale_counted, scale_served
from bench.scale_portal import in_turns

ROWS = (
    "token, random client: CPU µs",
    "token, random client: p99 ms",
    "search, rare word: CPU ms",
    "memory, anonymous MB",
)


def test_every_figure_is_taken(monkeypatch, capsys):
    monkeypatch.setattr(scale_served, "STARTS", 1)
    monkeypatch.setattr(scale_served, "WARM_SECONDS", 0.3)
    monkeypatch.setattr(scale_served, "SECONDS", 0.5)
    monkeypatch.setattr(scale_counted, "COUNTED", 20)
    once = lambda sides, make, rounds, each, *more: in_turns(sides, make, 1, 1, *more)  # noqa: E731
    monkeypatch.setattr(scale, "in_turns", once)
    # One in ten tokens has expired, and they are deleted by hundreds.
    some = ["--applications", "300", "--tokens", "20000", "--rounds", "1", "--requests", "50"]
    monkeypatch.setattr("sys.argv", ["bench.scale", *some])
    monkeypatch.setenv("COLUMNS", "200")
    scale.main()  # whether a goal is met is not for this machine to say
    printed = capsys.readouterr().out
    assert "Wrong answer" not in printed
    assert all(row in printed for row in ROWS)
    counted = re.search(r"the same in instructions +([\d,]+) +([\d,]+)", printed)
    assert bool(counted) == scale_counted.has_valgrind()
    assert not counted or all(int(it.replace(",", "")) > 10_000 for it in counted.groups())
    assert re.search(r"delete of [\d,]+ expired: CPU µs a row", printed)
