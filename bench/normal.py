"""Portal as it would be if no transaction waited for the disk: `flask --app bench.normal serve`.

Only to say what the waiting costs. A power cut could take the last refresh tokens and decisions
back, so the product has no such setting.
"""

import multiprocessing

from portal import database

if not hasattr(database, "settle"):
    raise SystemExit("Error: portal.database has no settle any more: adapt bench/normal.py.")
database.settle = lambda disk: None
# The workers must get what was changed here.
multiprocessing.set_start_method("fork", force=True)

from wsgi import app  # noqa: E402, F401
