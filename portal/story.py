"""The story of a token family: how it started, its last refreshes, and what ended it."""

from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, NamedTuple, Self

from portal.clock import now
from portal.models.application import Application
from portal.models.token import KEPT_ROTATIONS, TokenFamily
from portal.models.user import User
from portal.text import lasting

#: So many families are shown at once.
MOST_STORIES = 20
#: What an old refresh token looked like when it came.
LATE, ELSEWHERE, OLDER, UNSURE = "late", "elsewhere", "older", "unsure"


def judge(history: str | None, age: int, network: str, moment: int) -> tuple[str, str, int | None]:
    """What the coming of an old token looks like, the network, and how late it was in seconds.

    `age` is how many rotations ago the token was replaced: 1 is the one before the live one.
    """
    rotations = [word.partition("@") for word in (history or "@").split()[1:]]
    late = max(0, moment - int(rotations[-age][0])) if age <= len(rotations) else None
    last = rotations[-1][2] if rotations else ""
    if not network or not last:
        verdict = UNSURE if age == 1 else OLDER
    elif network == last:
        verdict = LATE if age == 1 else OLDER
    elif ip_network(network).version != ip_network(last).version:
        # One machine may use both: this alone tells nothing.
        verdict = UNSURE if age == 1 else OLDER
    else:
        verdict = ELSEWHERE
    return verdict, network, late


class Ending(NamedTuple):
    """How an end reads: to anybody, to the person, and what the administrator does about it."""

    title: str
    kind: str
    plain: str
    advice: str


KEEP_ADVICE = (
    "Let the application store the new refresh token with every refresh, and let only one"
    " process refresh at a time."
)
COPIED_ADVICE = (
    "See whether that network is the application's. If it is not, the token was copied: make a"
    " new secret for the application and look at that network."
)
ENDINGS = {
    LATE: Ending(
        "Retried late",
        "warn",
        "The application sent its previous key once more, from the same network. That looks like"
        " a mistake in the application, not like a theft.",
        f"The previous token came again, from the network of the last refresh. {KEEP_ADVICE}",
    ),
    ELSEWHERE: Ending(
        "Replayed from elsewhere",
        "danger",
        "A key that had been replaced was sent from another network. Somebody may have copied it;"
        " an application that moved to another network looks the same.",
        f"An old token came from another network than the last refresh. {COPIED_ADVICE} A phone"
        " that changed its network looks the same.",
    ),
    OLDER: Ending(
        "An older token was replayed",
        "danger",
        "A key that had been replaced more than once was sent again. Somebody may have copied it,"
        " or the application went back to an old copy of its data.",
        "The token had been replaced more than once. Either a process or a restored backup keeps"
        f" an old copy, or somebody else has one. {COPIED_ADVICE}",
    ),
    UNSURE: Ending(
        "Sent again; from where is not sure",
        "warn",
        "The application's previous key was sent once more. It is not known whether it came from"
        " the same place.",
        "The previous token came again. Its network cannot be compared with that of the last"
        " refresh: one is IPv4 and the other IPv6, which one machine can use both, or one is not"
        f" known. {KEEP_ADVICE} If its network is not the application's, the token was copied:"
        " make a new secret.",
    ),
}
OTHER_ENDS = {
    "revoked": "The application signed out and gave its token back.",
    "withdrawn": "The application's access was removed.",
    "code_reused": "The code that started it was sent a second time.",
    "user": "The person was disabled, or everything of theirs was ended.",
}


STARTS = {"code": "The person signed in", "device": "The person let a device in"}
#: The same, told to the person themselves.
YOUR_ENDS = {
    **OTHER_ENDS,
    "user": "Your account was disabled, or everything of yours was ended.",
}
YOUR_STARTS = {"code": "You signed in", "device": "You let a device in"}


class Step(NamedTuple):
    """One moment of a story; the network is "" where it is not known."""

    at: int
    text: str
    network: str = ""


@dataclass
class Story:
    """One token family, told."""

    family: TokenFamily
    application: Application
    person: User
    ending: Ending | None
    #: From the start to the end; rotations in between that are no longer known are counted.
    steps: list[Step]

    @property
    def is_live(self) -> bool:
        it = self.family
        return (
            it.ended_at is None
            and it.expires_at > now()
            and it.epoch == self.application.epoch
            and self.application.is_enabled
        )

    @classmethod
    def latest(cls, *which: Any, to_oneself: bool = False) -> list[Self]:
        """The families that match and started last, told; `to_oneself` in the words for them."""
        started = TokenFamily.select().where(*which)
        return cls._told(started.order_by(TokenFamily.id.desc()), to_oneself)

    @classmethod
    def reused(cls, *which: Any, to_oneself: bool = False) -> list[Self]:
        """The families that match and that an old refresh token ended last, told."""
        ended = TokenFamily.select().where(TokenFamily.ended_verdict.is_null(False), *which)
        ended = ended.order_by(TokenFamily.ended_at.desc(), TokenFamily.id.desc())
        return cls._told(ended, to_oneself)

    @classmethod
    def _told(cls, families: Any, to_oneself: bool) -> list[Self]:
        found = list(families.limit(MOST_STORIES))
        applications = {it.id: it for it in _rows(Application, {f.application_id for f in found})}
        people = {it.id: it for it in _rows(User, {f.user_id for f in found})}
        return [
            cls(
                it,
                applications[it.application_id],
                people[it.user_id],
                _ending(it),
                _steps(it, to_oneself),
            )
            for it in found
            if it.application_id in applications and it.user_id in people
        ]


def _rows(model: Any, ids: set[int]) -> Any:
    return model.select().where(model.id.in_(ids))


def _ending(family: TokenFamily) -> Ending | None:
    return ENDINGS.get(family.ended_verdict or "")


def _steps(family: TokenFamily, to_oneself: bool) -> list[Step]:
    starts, ends = (YOUR_STARTS, YOUR_ENDS) if to_oneself else (STARTS, OTHER_ENDS)
    start, *rotations = family.history or ["@"]
    flow, _, network = start.partition("@")
    steps = [Step(family.created_at, starts.get(flow, "Started"), network)]
    words = [word.partition("@") for word in rotations[-KEPT_ROTATIONS:]]
    between = family.rotations - len(words)
    if between > 0:
        steps.append(Step(0, f"{between:,} more {'refresh' if between == 1 else 'refreshes'}"))
    steps += [Step(int(at), "Refreshed", network) for at, _, network in words]
    if family.ended_at:
        steps.append(Step(family.ended_at, _end_text(family, ends), family.ended_from or ""))
    elif family.expires_at <= now():
        steps.append(Step(family.expires_at, "Not used for too long: expired"))
    return steps


def _end_text(family: TokenFamily, ends: dict[str, str]) -> str:
    ending = _ending(family)
    if ending is None:
        if family.ended_reason == "refresh_reused":
            return "Ended: an old refresh token was sent again."
        return "Ended. " + ends.get(family.ended_reason or "", "")
    if family.ended_late is None:
        return f"Ended: {ending.title}, long after the token had been replaced"
    return f"Ended: {ending.title}, {lasting(family.ended_late)} after the token had been replaced"
