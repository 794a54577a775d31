"""Which networks a secret is used from: bounded, and only for secrets used from more than one.

Two places at the same time are the sign of a shared secret, and a server that moved is not. So a
network counts once use has *come back* to it, after the secret was used elsewhere in between: at
most once an hour, and `MANY_RETURNS` times, each within `QUIET_SECONDS` of the last. Who moves
never comes back; who rolls a move back, or fails over and back, does once or twice; two services
that both work do with every hour, two nightly jobs with every day.

IPv4 and IPv6 are told apart: one host that has both goes from one to the other as it likes.
"""

from typing import Any

from peewee import SQL, Case, ForeignKeyField, IntegerField, TextField, Value, fn

from portal.clock import now
from portal.credentials import new_id
from portal.models.application import Application, ApplicationSecret
from portal.models.base import EpochField, IdField, Record
from portal.models.compiled import Compiled, slot
from portal.models.search import as_parameter, is_one_of

HOUR, DAY = 60 * 60, 24 * 60 * 60
#: The partial index is only used for literally this number.
MANY_RETURNS = SQL("3")
#: A network that was not used for so long has been left, and its returns do not count.
QUIET_SECONDS = 7 * DAY
#: When the pair of a split application has been used from there for so long, the old one has gone.
SETTLED_SECONDS = 120
#: Of each secret; the one that was not used for longest goes first.
ROWS_EACH = 20


class SecretNetwork(Record):
    """One network that a secret was used from."""

    id = IdField()
    secret = ForeignKeyField(ApplicationSecret, on_delete="CASCADE", index=False)
    network = TextField()
    #: 4 or 6.
    version = IntegerField()
    first_at = EpochField(default=now)
    last_at = EpochField(default=now)
    #: How often use came back to it from another one; when it last did.
    returns = IntegerField(default=0)
    returned_at = EpochField(default=0)

    class Meta:
        indexes = ((("secret", "network"), True),)


SecretNetwork.add_index(
    SecretNetwork.secret,
    SecretNetwork.version,
    SecretNetwork.last_at,
    where=SecretNetwork.returns >= MANY_RETURNS,
    name="secret_network_shared",
)

_COLUMNS = [
    SecretNetwork.id,
    SecretNetwork.secret,
    SecretNetwork.network,
    SecretNetwork.version,
    SecretNetwork.first_at,
    SecretNetwork.last_at,
    SecretNetwork.returns,
    SecretNetwork.returned_at,
]


def _so_far() -> Any:
    """Where secrets were used from last, and whether there are several places."""
    it = ApplicationSecret
    several = SecretNetwork.select(SecretNetwork.id).where(SecretNetwork.secret == it.id)
    columns = it.id, it.last_used_from, fn.EXISTS(several)
    return it.select(*columns).where(is_one_of(it.id, slot("ids")))


def _remember_former() -> Any:
    """The one network so far, as soon as there is another."""
    it = ApplicationSecret
    former = it.last_used_from
    version = Case(None, [(former.contains(":"), 6)], 4)
    select = it.select(
        slot("row_id"), it.id, former, version, it.created_at, it.last_used_at, 0, 0
    ).where(it.id == slot("id"), former != "", former != slot("network"))
    return SecretNetwork.insert_from(select, fields=_COLUMNS).on_conflict_ignore()


def _note() -> Any:
    """This network beside others."""
    it, mine, other = ApplicationSecret, SecretNetwork.alias(), SecretNetwork.alias()
    others = other.select(other.id).where(other.secret == it.id)
    came_back = fn.EXISTS(
        others.where(
            other.version == mine.version,
            other.id != mine.id,
            # Who is noted in the same second has been used meanwhile, too.
            other.last_at >= mine.last_at,
        )
    ) & (mine.returned_at <= slot("hour_ago"))
    left = mine.id.is_null() | (mine.last_at <= slot("left_before"))
    select = (
        it.select(
            slot("row_id"),
            it.id,
            slot("network"),
            slot("version"),
            slot("now"),
            slot("now"),
            Case(None, [(left, 0), (came_back, mine.returns + 1)], mine.returns),
            Case(None, [(left, 0), (came_back, slot("now"))], mine.returned_at),
        )
        .left_outer_join(mine, on=((mine.secret == it.id) & (mine.network == slot("network"))))
        .where(it.id == slot("id"))
    )
    table = SecretNetwork
    return table.insert_from(select, fields=_COLUMNS).on_conflict(
        conflict_target=[table.secret, table.network],
        preserve=[table.last_at, table.returns, table.returned_at],
        # Another process may have seen a later use.
        where=table.last_at < slot("now"),
    )


def _forget() -> Any:
    kept = SecretNetwork.select(SecretNetwork.id).where(SecretNetwork.secret == slot("id"))
    kept = kept.order_by(SecretNetwork.last_at.desc(), SecretNetwork.id.desc()).limit(ROWS_EACH)
    return SecretNetwork.delete().where(
        SecretNetwork.secret == slot("id"), SecretNetwork.id.not_in(kept)
    )


_SO_FAR, _REMEMBER_FORMER = Compiled(_so_far), Compiled(_remember_former)
_NOTE, _FORGET = Compiled(_note), Compiled(_forget)


def note_networks(notes: list[tuple[int, str, int]], crowded: set[int]) -> None:
    """Note secrets by id, network and moment; call it before `last_used_from` is written.

    Of the secrets in `crowded`, which may have too many, the oldest networks are forgotten.
    """
    places: dict[int, set[str]] = {}
    for secret_id, network, _ in notes:
        places.setdefault(secret_id, set()).add(network)
    # Nearly all secrets are used from one place: these cost no more than this look.
    among = set()
    for secret_id, former, several in _SO_FAR.rows_for_batch(ids=as_parameter(list(places))):
        if several or len(places[secret_id] | ({former} - {""})) > 1:
            among.add(secret_id)
    rows = [
        {
            "id": secret_id,
            "network": network,
            "version": 6 if ":" in network else 4,
            "now": moment,
            "hour_ago": moment - HOUR,
            "left_before": moment - QUIET_SECONDS,
        }
        for secret_id, network, moment in notes
        if secret_id in among
    ]
    for statement in (_REMEMBER_FORMER, _NOTE) if rows else ():
        statement.run_each([{**row, "row_id": new_id()} for row in rows])
    if crowded := crowded & among:
        _FORGET.run_each([{"id": secret_id} for secret_id in sorted(crowded)])


def shared_secrets(moment: int | Value, *columns: Any) -> Any:
    """Rows with these columns for each live secret that is used from several networks.

    Not for applications whose administrator says that these are its own servers.
    """
    it, second, secret = SecretNetwork, SecretNetwork.alias(), ApplicationSecret
    # Without grouping, which would sort.
    another = second.select(second.id).where(
        second.secret == it.secret,
        second.version == it.version,
        second.id != it.id,
        *is_shared(moment, second),
    )
    return (
        it.select(*columns)
        .join(secret)
        .join(Application)
        .where(
            *is_shared(moment),
            fn.EXISTS(another),
            secret.retired_at.is_null(),
            secret.expires_at.is_null() | (secret.expires_at > moment),
            Application.sharing_allowed_at.is_null(),
        )
    )


def is_shared(moment: int | Value, it: Any = SecretNetwork) -> tuple[Any, ...]:
    """The conditions of networks that use comes back to, while no split application took over.

    In a query that has the secret, too.
    """
    return it.returns >= MANY_RETURNS, it.last_at > moment - QUIET_SECONDS, ~_has_moved(it)


def _has_moved(it: Any) -> Any:
    """Whether an application split from this one is used from there now, and this secret not."""
    clone, theirs, place = Application.alias(), ApplicationSecret.alias(), SecretNetwork.alias()
    later = it.last_at + SETTLED_SECONDS
    return fn.EXISTS(
        theirs.select(theirs.id)
        .join(clone, on=(clone.id == theirs.application))
        .left_outer_join(place, on=((place.secret == theirs.id) & (place.network == it.network)))
        .where(
            clone.split_from == ApplicationSecret.application,
            ((theirs.last_used_from == it.network) & (theirs.last_used_at > later))
            | (place.last_at > later),
        )
    )
