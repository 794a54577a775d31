"""Find the token that somebody presents, as introspection and revocation need it."""

from typing import Any

from portal.credentials import ACCESS_TOKEN, REFRESH_TOKEN, Presented, matches, parse_token
from portal.models.client import Client, StaleClient
from portal.models.statements import FIND_ACCESS_TOKEN, FIND_FAMILY
from portal.oauth.refusals import PARAMETER_MISSING, refuse

STATEMENTS = {ACCESS_TOKEN: FIND_ACCESS_TOKEN, REFRESH_TOKEN: FIND_FAMILY}


def find_presented(
    request: Any, client: Client, *, with_previous: bool = False
) -> tuple[Presented, Any] | None:
    """The token in the `token` parameter and its row; None when it is none of ours.

    A `token_type_hint` is not needed, so an unknown one does no harm (RFC 7009 §2.1): the
    token's prefix tells its kind. `with_previous` also takes the refresh token before the last
    rotation, which a client that lost an answer still holds. Raises Refused without the
    parameter, and StaleClient when the asking application changed since its row was cached.
    """
    if "token" not in request.form:
        raise refuse(PARAMETER_MISSING, application_id=client.id, detail="token")
    presented = parse_token(request.form["token"])
    if presented is None or presented.kind not in STATEMENTS:
        return None
    row = STATEMENTS[presented.kind].row(id=presented.id, asker_id=client.id)
    if row is None:
        return None
    if row.asker_version != client.version:
        raise StaleClient(client.client_id)
    hashes = [row.hash] if presented.kind == ACCESS_TOKEN else [row.refresh_hash]
    if with_previous and presented.kind == REFRESH_TOKEN:
        hashes.append(row.previous_hash)
    return (presented, row) if any(matches(presented.hash, h) for h in hashes) else None
