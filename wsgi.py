"""The WSGI application: `wsgi:app`."""

import atexit

from portal import create_app, logs
from portal.settings import SettingError, Settings

try:
    settings = Settings.from_env()
    logs.configure(settings)
    app = create_app(settings)
except SettingError as error:
    # One line instead of a trace, from every server and command.
    raise SystemExit(f"Error: {error}") from None

# The workers of `serve` do it themselves: atexit is not for processes that were forked.
atexit.register(app.extensions["portal.oauth"].uses.write)
