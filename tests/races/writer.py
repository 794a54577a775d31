"""One process of many on one database: threads that get, refresh and check tokens.

`python -m tests.races.writer URL FILE` waits for a line, works, and prints the statuses it saw.
"""

import json
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

from portal import create_app
from portal.database import database
from portal.settings import Settings
from tests.flows import RelyingApp

ROUNDS = 15


def work(app, given: dict, refresh_token: str) -> list[tuple[int, str]]:
    """Each round: a new machine token, a rotation, a refusal to note."""
    application = SimpleNamespace(client_id=given["client_id"])
    rp = RelyingApp(app.test_client(), application, given["secret"])
    stranger = RelyingApp(app.test_client(), application, "wrong")
    seen = []
    try:
        for _ in range(ROUNDS):
            machine = rp.token("client_credentials")
            rotated = rp.refresh(refresh_token)
            refused = stranger.token("client_credentials")
            refresh_token = rotated.get_json().get("refresh_token", "")
            for name, answer in (("token", machine), ("refresh", rotated), ("refused", refused)):
                seen.append((answer.status_code, name))
    except Exception:
        traceback.print_exc()
        raise
    finally:
        database.close()
    return seen


def main(url: str, path: str) -> None:
    given = json.loads(Path(path).read_text())
    app = create_app(
        Settings(issuer="http://localhost:8000", database_url=url, secret_key="k" * 40)
    )
    mine = given["refresh_tokens"]
    sys.stdin.readline()
    with ThreadPoolExecutor(len(mine)) as pool:
        results = list(pool.map(lambda token: work(app, given, token), mine))
    print(json.dumps([item for seen in results for item in seen]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
