"""The WSGI application: `wsgi:app`."""

from portal import create_app
from portal.settings import SettingError

try:
    app = create_app()
except SettingError as error:
    # One line instead of a trace, from every server and command.
    raise SystemExit(f"Error: {error}") from None
