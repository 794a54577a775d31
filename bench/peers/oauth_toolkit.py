"""django-oauth-toolkit as small as it gets: one address, one client, SQLite.

The client secret is kept unhashed: the default (PBKDF2, a million rounds a request) would make it
a few hundred times slower, and nobody would have to measure. Runs in `.venv-bench`.
"""

import os

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="a key for measuring, and for nothing else",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "oauth2_provider",
    ],
    MIDDLEWARE=[],
    ROOT_URLCONF="oauth_toolkit",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["BENCH_DATABASE"],
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "timeout": 10,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    },
    OAUTH2_PROVIDER={"SCOPES": {"read": "Read"}, "ACCESS_TOKEN_EXPIRE_SECONDS": 900},
    LOGGING_CONFIG=None,
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import path  # noqa: E402
from oauth2_provider.models import get_application_model  # noqa: E402
from oauth2_provider.views import TokenView  # noqa: E402

urlpatterns = [path("token/", TokenView.as_view())]
application = get_wsgi_application()

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    get_application_model().objects.create(
        client_id=os.environ["BENCH_CLIENT_ID"],
        client_secret=os.environ["BENCH_CLIENT_SECRET"],
        hash_client_secret=False,
        client_type="confidential",
        authorization_grant_type="client-credentials",
    )
