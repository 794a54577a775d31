"""Shape: requests that no client sends; thousands of them, and never a failure (5xx)."""

import io
import re
from itertools import product
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.models import AccessToken, AuthorizationCode
from tests.flows import basic
from tests.hostile.attack import FORM, SCRIPT, assert_harmless, cookie_of, send

MACHINES = ["/oauth/token", "/oauth/introspect", "/oauth/revoke", "/oauth/device_authorization"]
GO_ON = ("/oauth/authorize", "/oauth/logout", "/login")
METHODS = [
    *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"),
    *("get", "po\tst", "\xe9", "X" * 500),
]
CONTENT_TYPES = [
    None,
    "",
    FORM + "; charset=utf-16",
    FORM.upper(),
    "application/json",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=x\x80y",
    "text/plain; charset=\x00",
    ";;;===",
    "a" * 5000,
]
BODIES = [
    b"",
    b"\x00",
    b"\xff\xfe\xfd",
    b"%",
    b"%zz=%",
    b"&&&===&",
    b"grant_type=client_credentials&grant_type=client_credentials",
    b"a=%ED%A0%80&b=%C0%AF&c=%00",
    b'{"grant_type": "client_credentials"}',
    b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--",
    b"a=1\r\nSet-Cookie: b=2",
    "ключ=значение".encode(),
]
ODD = [
    "",
    "\x00",
    "%00",
    "\xff\xfe",
    "\xed\xa0\x80",
    "..",
    "../../etc/passwd",
    "%2e%2e%2f",
    "\r\nX-Evil: 1",
    "' OR 1=1 --",
    '"; DROP TABLE user_account; --',
    SCRIPT,
    "{{7*7}}",
    "${7*7}",
    "-1",
    "9223372036854775808",
    "٣",
    "new",
    "x" * 4000,
]


def addresses(app, odd: str) -> list[str]:
    """Every address of the portal, with `odd` in each place that takes something."""
    part = odd.encode("utf-8", "surrogatepass").decode("latin-1")
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    return sorted({re.sub("<[^>]*>", lambda _: part, rule) for rule in rules})


def pages(app) -> list[str]:
    """The addresses of pages that take nothing in their path."""
    rules = app.url_map.iter_rules()
    return sorted({rule.rule for rule in rules if "GET" in rule.methods and not rule.arguments})


def test_every_address_takes_every_method(app, browser_of, alice):
    admin = cookie_of(browser_of(alice))
    for path, method in product(addresses(app, "1"), METHODS):
        response = send(app, method, path, cookie=admin)
        assert_harmless(response)
        # Whatever changes something came without its CSRF token, or without a secret.
        if method.upper() not in ("GET", "HEAD", "OPTIONS"):
            # These go on as a GET; whoever is signed in has no need to sign in.
            assert response.status_code >= 400 or path in GO_ON, (method, path)


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_every_address_takes_every_odd_part(app, browser_of, alice, odd):
    admin = cookie_of(browser_of(alice))
    for path in addresses(app, odd):
        assert_harmless(send(app, "GET", path, cookie=admin))
        assert_harmless(send(app, "POST", path, cookie=admin))


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_every_address_takes_every_odd_query(app, browser_of, alice, odd):
    admin = cookie_of(browser_of(alice))
    names = "next q sort order page after before status flow owner redirect_uri user_code client_id"
    raw = odd.encode("utf-8", "surrogatepass").decode("latin-1")
    for value in {raw, quote(odd, errors="replace")}:
        query = "&".join(f"{name}={value}" for name in names.split())
        for path in pages(app):
            assert_harmless(send(app, "GET", path, query=query, cookie=admin))
        for path in ("/admin/applications", "/admin/users"):
            assert_harmless(
                send(app, "GET", path, query=query, cookie=admin, HTTP_HX_REQUEST_TYPE="partial")
            )


def test_machines_and_pages_take_every_body_in_every_content_type(app):
    paths = ["/oauth/token", "/oauth/revoke", "/oauth/authorize", "/oauth/consent", "/login"]
    for path, content_type, body in product(paths, CONTENT_TYPES, BODIES):
        response = send(app, "POST", path, content_type=content_type, body=body)
        assert_harmless(response)
        assert response.status_code >= 400 or response.status_code == 303
        if path in MACHINES:
            assert response.is_json
            assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", MACHINES)
def test_a_repeated_parameter_is_refused(rp, path):
    body = f"client_id={rp.client_id}&client_secret={rp.secret}&grant_type=client_credentials"
    for name in ("client_id", "grant_type", "scope", "token", "anything"):
        response = rp.http.post(path, data=f"{body}&{name}=a&{name}=a", content_type=FORM)
        assert response.status_code == 400
        assert response.get_json()["error"] == "invalid_request"


@pytest.mark.parametrize("path", MACHINES)
def test_parameters_in_the_url_are_refused(rp, path):
    for query in ("scope=openid", "a", "token=x", f"client_secret={rp.secret}"):
        response = rp.http.post(
            f"{path}?{query}",
            data={"grant_type": "client_credentials", "token": "x"},
            headers=basic(rp.client_id, rp.secret),
        )
        assert response.status_code == 400
        assert response.get_json()["error"] == "invalid_request"
    assert not AccessToken.select().exists()


@pytest.mark.parametrize("path", [*MACHINES, "/oauth/authorize", "/login", "/oauth/consent"])
def test_huge_bodies_are_refused_unread(app, path):
    class Untouched(io.BytesIO):
        def read(self, *_):
            raise AssertionError("the body was read")

    response = send(
        app, "POST", path, CONTENT_LENGTH=str(20 * 2**20), **{"wsgi.input": Untouched()}
    )
    assert_harmless(response)
    assert response.status_code == 413


@pytest.mark.parametrize("path", [*MACHINES, "/oauth/authorize", "/login"])
def test_huge_bodies_without_a_length_are_not_read_whole(app, path):
    stream = io.BytesIO(b"a=" + b"b" * (20 * 2**20))
    response = send(
        app,
        "POST",
        path,
        CONTENT_LENGTH="",
        **{"wsgi.input": stream, "wsgi.input_terminated": True},
    )
    assert_harmless(response)
    assert response.status_code in (303, 400, 401, 413)
    assert stream.tell() < 2**20


@pytest.mark.parametrize("path", [*MACHINES, "/oauth/authorize", "/login", "/device"])
@pytest.mark.parametrize("field", [b"a=b&", b"a&", b"&"], ids=["pairs", "names", "nothing"])
def test_fifty_thousand_fields_are_refused(app, path, field):
    response = send(app, "POST", path, body=field * 50_000)
    assert_harmless(response)
    assert 400 <= response.status_code < 500


@pytest.mark.parametrize("length", ["abc", "-1", "", "1e9", "\xb2", "9" * 400])
@pytest.mark.parametrize("path", ["/oauth/token", "/login"])
def test_odd_lengths_do_no_harm(app, path, length):
    assert_harmless(send(app, "POST", path, body=b"a=1", CONTENT_LENGTH=length))


HEADERS = [
    *("HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_HOST", "HTTP_REFERER", "HTTP_USER_AGENT"),
    *("HTTP_ACCEPT", "HTTP_ACCEPT_LANGUAGE", "HTTP_ORIGIN", "HTTP_HX_REQUEST_TYPE", "HTTP_RANGE"),
    *("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO", "HTTP_EXPECT"),
    *("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_X_CSRFTOKEN", "HTTP_FORWARDED"),
    *("HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_ENCODING", "REMOTE_ADDR", "SERVER_PROTOCOL"),
]
ODD_HEADERS = [*ODD, "http://[", "a b", "evil.example:99999", "[::1", "=;=;,", "\x7f", "h" * 60_000]


@pytest.mark.parametrize("name", HEADERS)
def test_odd_headers_do_no_harm(app, name):
    calls = [("GET", "/login"), ("POST", "/login"), ("POST", "/oauth/token"), ("GET", "/nowhere")]
    calls += [("GET", "/oauth/authorize"), ("GET", "/static/portal.css"), ("GET", "/device")]
    for (method, path), value in product(calls, ODD_HEADERS):
        raw = value.encode("utf-8", "surrogatepass").decode("latin-1")
        assert_harmless(send(app, method, path, **{name: raw}))


@pytest.mark.parametrize(
    "referrer",
    [
        "http://[",
        "http://[::1",
        "//",
        "\xff",
        "javascript:1",
    ],
)
def test_an_odd_referrer_does_no_harm_where_a_stranger_posts(app, referrer):
    from tests.factories import csrf_token

    browser = app.test_client()
    fields = {"csrf_token": csrf_token(browser, "/login")}
    for path in ("/oauth/consent", "/device", "/account/sessions/end-others"):
        response = browser.post(path, data=fields, headers={"Referer": referrer})
        assert_harmless(response)
        assert response.location.startswith("/login?")


texts = st.text(max_size=60) | st.sampled_from(ODD[:-1])
NAMES = (
    *("grant_type", "client_id", "client_secret", "scope", "token", "code", "redirect_uri"),
    *("code_verifier", "refresh_token", "device_code", "state", "nonce", "prompt", "request"),
    *("response_type", "response_mode", "code_challenge", "code_challenge_method", "username"),
    *("password", "user_code", "decision", "csrf_token", "next", "token_type_hint"),
)
names = st.sampled_from(NAMES)
fields = st.lists(st.tuples(names | texts, texts), max_size=8)
FUZZ = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def encoded(pairs) -> str:
    return "&".join(f"{quote(k, errors='replace')}={quote(v, errors='replace')}" for k, v in pairs)


@FUZZ
@given(pairs=fields, good=st.booleans(), path=st.sampled_from([*MACHINES, "/oauth/authorize"]))
def test_whatever_fields_machines_send(app, rp, pairs, good, path):
    if good:
        pairs = [*pairs, ("client_id", rp.client_id), ("client_secret", rp.secret)]
    assert_harmless(send(app, "POST", path, body=encoded(pairs).encode()))


@FUZZ
@given(pairs=fields, rest=st.booleans())
def test_whatever_an_authorization_request_holds(app, rp, browser_of, bob, pairs, rest):
    browser = rp.__dict__.setdefault("browser", None) or browser_of(bob)
    rp.browser = browser
    if rest:
        pairs = [*(p for p in rp.authorize_params().items() if p[0] not in dict(pairs)), *pairs]
    response = send(app, "GET", "/oauth/authorize", query=encoded(pairs), cookie=cookie_of(browser))
    assert_harmless(response)
    assert not AuthorizationCode.select().exists()


@FUZZ
@given(
    body=st.binary(max_size=200), path=st.sampled_from([*MACHINES, "/login", "/oauth/authorize"])
)
def test_whatever_bytes_come(app, body, path):
    assert_harmless(send(app, "POST", path, body=body))


@FUZZ
@given(header=st.binary(max_size=80))
def test_whatever_bytes_authorization_holds(app, header):
    for value in (header, b"Basic " + header):
        response = send(
            app,
            "POST",
            "/oauth/token",
            body=b"grant_type=client_credentials",
            HTTP_AUTHORIZATION=value.decode("latin-1"),
        )
        assert response.status_code in (400, 401)
        assert_harmless(response)
