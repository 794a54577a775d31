"""The WSGI application: `wsgi:app`."""

from multiprocessing.util import Finalize

from portal import create_app, logs
from portal.settings import SettingError, Settings

try:
    settings = Settings.from_env()
    logs.configure(settings)
    app = create_app(settings)
except SettingError as error:
    # One line instead of a trace, from every server and command.
    raise SystemExit(f"Error: {error}") from None

# Like atexit, but also when granian's workers end.
Finalize(None, app.extensions["portal.oauth"].uses.write, exitpriority=0)
