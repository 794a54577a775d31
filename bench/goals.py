"""What the measurements should come to. Only ratios within one run are judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from statistics import median

from bench.measure import spread
from bench.rounds import Round, Target

HELLO = "hello"
#: Above it the machine was busy with something else, and ratios say nothing.
NOISY = 0.25
#: Above it others made the requests wait, and latencies say nothing.
BUSY = 0.1


@dataclass(frozen=True)
class Goal:
    """One ratio of two targets and the most that it may be."""

    text: str
    target: str
    other: str
    most: float
    of: str = (
        "cpu"  # or p99; memory, after a second of it; total: CPU with the database's processes
    )
    moonshot: bool = False


GOALS = (
    Goal("Token, opaque ≤ 2.5 × hello", "token", HELLO, 2.5),
    Goal("Introspection ≤ 1.8 × hello", "introspect", HELLO, 1.8),
    Goal("Refresh without waiting for the disk ≤ 2.8 × hello", "refresh-normal", HELLO, 2.8),
    Goal("Refresh ≤ 4 × hello", "refresh", HELLO, 4),
    Goal("Device poll ≤ 2.2 × hello", "device", HELLO, 2.2),
    Goal("Authorize, consent known ≤ 5.5 × hello", "authorize", HELLO, 5.5),
    Goal("Token p99, 10 logins/s beside ≤ 1.3 × without", "token-logins", "token", 1.3, "p99"),
    Goal("Token ≤ 0.85 × oidc-provider, a process each", "token-1", "oidc-provider", 0.85),
    Goal("Token ≤ 1/7 of django-oauth-toolkit", "token", "django-oauth-toolkit", 1 / 7),
    Goal("Memory ≤ 0.8 × django-oauth-toolkit", "token", "django-oauth-toolkit", 0.8, "memory"),
    Goal("Token on PostgreSQL ≤ 2 × SQLite", "pg-token", "token", 2, "total"),
    Goal("Moonshot: token, opaque ≤ 1.0 × hello", "token", HELLO, 1, moonshot=True),
)

KINDS: dict[str, Callable[[Round], float]] = {
    "cpu": lambda done: done.cpu_us,
    "total": lambda done: done.cpu_us + done.database_us,
    "p99": lambda done: done.sample.p99,
}


@dataclass(frozen=True)
class Ratio:
    """A ratio of two targets: the median of the rounds, and how far they lie apart."""

    middle: float
    least: float
    most: float


def ratio(target: Target, other: Target, of: str = "cpu") -> Ratio:
    """Round by round, since both then met the same machine."""
    value = KINDS[of]
    pairs = zip(target.rounds, other.rounds, strict=True)
    # Nothing to compare with: a server that did not answer, which is a fault already.
    ratios = [value(mine) / (value(theirs) or inf) for mine, theirs in pairs]
    return Ratio(median(ratios), min(ratios), max(ratios))


def is_noisy(targets: Mapping[str, Target]) -> bool:
    """Whether the yardstick itself varied too much from round to round."""
    return yardstick_spread(targets) > NOISY


def yardstick_spread(targets: Mapping[str, Target]) -> float:
    return spread(targets[HELLO].each(lambda done: done.cpu_us))


def others_share(targets: Mapping[str, Target]) -> float:
    """How much of the machine went to programs that had no part in the run."""
    return median(share for t in targets.values() for share in t.each(lambda done: done.others))


@dataclass(frozen=True)
class Verdict:
    goal: Goal
    value: float

    @property
    def met(self) -> bool:
        return self.value <= self.goal.most


def judge(targets: Mapping[str, Target], goals: tuple[Goal, ...] = GOALS) -> list[Verdict]:
    """A verdict on each goal that this run measured both sides of, on latency if it can be."""
    found, busy = [], others_share(targets) > BUSY
    for goal in goals:
        if goal.of == "p99" and busy:
            continue
        if goal.target in targets and goal.other in targets:
            mine, theirs = targets[goal.target], targets[goal.other]
            if goal.of == "memory":
                value = mine.pss_mb / theirs.pss_mb
            else:
                value = ratio(mine, theirs, goal.of).middle
            found.append(Verdict(goal, value))
    return found
