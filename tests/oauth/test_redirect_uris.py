"""Redirect URIs as text: what may be saved, what matches, what differs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.oauth import redirect_uris
from portal.oauth.redirect_uris import (
    explain,
    is_loopback,
    is_private_use,
    matches,
    nearest,
    problem,
    sentence,
)

SAVED = "https://wiki.example.org/callback"

GOOD = [
    "https://app.example.org/callback",
    "https://app.example.org",
    "https://app.example.org:8443/callback?from=portal",
    "https://intranet/callback",
    "https://xn--exmple-cua.org/callback",
    "https://192.0.2.1/callback",
    "https://[2001:db8::1]:8443/callback",
    "http://localhost:9000/callback",
    "http://127.0.0.1/callback",
    "http://[::1]:8080/callback",
    "com.example.app:/callback",
    "com.example.app://callback",
    "https://app.example.org/call%20back",
]
BAD = {
    "": "Enter an address",
    "/callback": "Write the whole address",
    "app.example.org/callback": "Write the whole address",
    "//app.example.org/callback": "Write the whole address",
    "http://app.example.org/callback": "Start it with https://",
    "http://127.0.0.1.evil.com/callback": "Start it with https://",
    "http://localhost.evil.com/callback": "Start it with https://",
    "http://127.0.0.2/callback": "Start it with https://",
    "http://localhost@evil.com/callback": "Remove the user name",
    "https://alice:secret@app.example.org/": "Remove the user name",
    "https://a@b@c@app.example.org/": "Remove the user name",
    "https://app.example.org/#part": "Remove the #",
    "https://app.example.org/#": "Remove the #",
    "https://*.example.org/callback": "Remove the *",
    "https://app.example.org/*": "Remove the *",
    "javascript:alert(1)": "Use https:// instead",
    "JaVaScRiPt:alert(1)": "Use https:// instead",
    "data:text/html,hello": "Use https:// instead",
    "file:///etc/passwd": "Use https:// instead",
    "https:app.example.org": "Write the host",
    "https:///callback": "Write the host",
    "https://:443/callback": "Write the host",
    "https://app.example.org:/callback": "Correct the port",
    "https://app.example.org:0/callback": "Correct the port",
    "https://app.example.org:65536/": "Correct the port",
    "https://app.example.org:http/": "Correct the port",
    "https://[::1/callback": "Correct the IPv6 address",
    "https://[::g]/callback": "Correct the IPv6 address",
    "https://[fe80::1%25eth0]/": "Correct the IPv6 address",
    "http://[": "Correct the IPv6 address",
    "https://-app.example.org/": "Correct the host",
    "https://app..example.org/": "Correct the host",
    "https://app.example.org%2eevil.com/": "Correct the host",
    "https://0x7f.1/callback": "Write the IP address as four numbers",
    "https://2130706433/callback": "Write the IP address as four numbers",
    "https://127.1/callback": "Write the IP address as four numbers",
    "http://0x7f.1/callback": "Write the IP address as four numbers",
    "https://app.example.org/../admin": "Remove the . and ..",
    "https://app.example.org/a/%2e%2E/b": "Remove the . and ..",
    "https://app.example.org/a%2f..%2fb": "Remove the . and ..",
    "https://app.example.org\\@evil.com": "Use / instead",
    "https://app.example.org/a b": "Remove the spaces",
    "https://app.example.org/\n": "Remove the spaces",
    "https://app.example.org/\0": "Remove the spaces",
    "https://app.example.org/%0d%0aSet-Cookie": "Remove the percent-encoded control",
    "https://app.example.org/%zz": "Percent-encode",
    "https://app.example.org/<script>": "Percent-encode",
    'https://app.example.org/"': "Percent-encode",
    "https://exämple.org/callback": "Write it in ASCII",
    "https://app.example.org/" + "x" * 2000: "Shorten the address",
    "myapp:/callback": "A scheme of your own needs a domain",
    "myapp://callback": "A scheme of your own needs a domain",
    "com..app:/callback": "A scheme of your own needs a domain",
    "com.example.app:callback": "Write a path",
    "com.example.app:": "Write a path",
}


@pytest.mark.parametrize("uri", GOOD)
def test_a_proper_address_may_be_saved(uri):
    assert problem(uri) is None


@pytest.mark.parametrize(("uri", "start"), BAD.items())
def test_a_dangerous_address_is_refused_with_what_to_change(uri, start):
    assert start in (problem(uri) or "")


@pytest.mark.parametrize(
    ("uri", "loopback", "private_use"),
    [
        ("http://localhost:9000/callback", True, False),
        ("http://127.0.0.1/callback", True, False),
        ("http://[::1]/callback", True, False),
        ("https://localhost/callback", True, False),
        ("https://127.9.9.9/callback", True, False),
        ("https://app.localhost./callback", True, False),
        ("https://127.0.0.1.evil.com/callback", False, False),
        ("https://localhost.evil.com/", False, False),
        ("https://app.example.org/?next=http://localhost/", False, False),
        ("com.example.app:/callback", False, True),
        ("COM.example.app://callback", False, True),
        ("myapp:/callback", False, False),
        ("https://app.example.org/", False, False),
    ],
)
def test_addresses_on_the_persons_own_device_are_known(uri, loopback, private_use):
    assert is_loopback(uri) is loopback
    assert is_private_use(uri) is private_use


@pytest.mark.parametrize(
    ("sent", "saved"),
    [
        (SAVED, SAVED),
        ("http://localhost:51234/cb", "http://localhost/cb"),
        ("http://127.0.0.1:51234/cb", "http://127.0.0.1:9000/cb"),
        ("http://[::1]/cb?a=b", "http://[::1]:1/cb?a=b"),
        ("com.example.app:/cb", "com.example.app:/cb"),
    ],
)
def test_the_saved_address_matches(sent, saved):
    assert matches(sent, ["https://other.example.org/", saved])


@pytest.mark.parametrize(
    "sent",
    [
        "",
        SAVED + "/",
        SAVED + "/evil",
        SAVED + "?a=b",
        SAVED + "#",
        SAVED + "\n",
        SAVED + "\0",
        " " + SAVED,
        SAVED.upper(),
        "https://WIKI.example.org/callback",
        "http://wiki.example.org/callback",
        "https://wiki.example.org:443/callback",
        "https://wiki.example.org/%63allback",
        "https://wiki.example.org/x/../callback",
        "https://wiki.example.org@evil.com/callback",
        "https://wiki.example.org\\@evil.com/callback",
        "https://wiki.example.org.evil.com/callback",
        "http://localhost.evil.com/cb",
        "http://127.0.0.1.evil.com/cb",
        "http://localhost:80@evil.com/cb",
        "http://localhost:99999/cb",
        "http://localhost:٣/cb",
        "http://localhost:/cb",
        "http://localhost:80/cb/",
        "http://localhost:80/cb#x",
        "http://127.0.0.1:80/cb",
        "http://[::1]:80/cb",
        "https://localhost:80/cb",
        "http://LOCALHOST:80/cb",
        "http://0x7f.1/cb",
    ],
)
def test_nothing_else_matches(sent):
    assert not matches(sent, [SAVED, "http://localhost:9000/cb"])


def test_the_port_may_differ_only_on_plain_http():
    assert not matches("https://localhost:2/cb", ["https://localhost:1/cb"])
    assert not matches("https://app.example.org:2/cb", ["https://app.example.org:1/cb"])


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (SAVED + "/", SAVED),
        ("https://wiki.example.org/Callback", SAVED),
        ("http://wiki.example.org/callback", SAVED),
        ("https://mail.example.org/callback/", "https://mail.example.org/callback"),
        ("https://wiki.exmaple.org/callback", SAVED),
        ("", None),
    ],
)
def test_the_nearest_saved_address_is_found(sent, meant):
    saved = ["https://mail.example.org/callback", SAVED, "http://localhost/callback"]
    assert nearest(sent, saved) in (meant, *([] if meant else saved))
    assert nearest(sent, []) is None


@pytest.mark.parametrize(
    ("sent", "name", "words"),
    [
        ("http://wiki.example.org/callback", "scheme", "The scheme is http instead of https."),
        ("https://me@wiki.example.org/callback", "user", "A user name stands before the host."),
        (
            "https://wiki.example.com/callback",
            "host",
            "The host is wiki.example.com instead of wiki.example.org.",
        ),
        ("https://wiki.example.org:8443/callback", "port", "The port 8443 was added."),
        ("https://wiki.example.org/cb", "path", "The path is /cb instead of /callback."),
        (SAVED + "/", "trailing slash", "A trailing slash was added."),
        (
            "https://wiki.example.org/Callback",
            "case",
            "The path differs in capital letters.",
        ),
        (SAVED + "?a=b", "query", "A query was added."),
        (SAVED + "#top", "fragment", "A fragment was added."),
    ],
)
def test_the_differing_part_is_named(sent, name, words):
    differing = [part for part in explain(sent, SAVED) if part.differs]
    assert [part.name for part in differing] == [name]
    assert sentence(sent, SAVED) == words


@pytest.mark.parametrize(
    ("sent", "saved", "words"),
    [
        (SAVED, SAVED + "/", "The trailing slash is missing."),
        (SAVED, SAVED + "?a", "The query is missing."),
        (SAVED + "?b", SAVED + "?a", "The query differs."),
        ("https://a.org/", "https://a.org:8443/", "The port 8443 is missing."),
        ("https://a.org:1/", "https://a.org:2/", "The port is 1 instead of 2."),
        (f"{SAVED} ", SAVED, "Spaces were added around it."),
        ("https%3A%2F%2Fwiki.example.org%2Fcallback", SAVED, "percent-encoded once too often"),
        ("http://evil.com:1/x?y", SAVED, "another address: scheme, host, port, path and query"),
        (SAVED, SAVED, "Both are the same."),
    ],
)
def test_the_difference_is_said_in_words(sent, saved, words):
    assert words in sentence(sent, saved)


HOSTILE = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="htps:/@[]\\?#%.*0x7f1 \0\n\ud800é", max_size=300),
    st.sampled_from([*BAD, *GOOD]).flatmap(lambda u: st.text(max_size=20).map(lambda t: u + t)),
    st.sampled_from(["http://[", "@" * 10_000, "https://" + "a." * 5_000, "%2e" * 4_000, "://"]),
)


@given(sent=HOSTILE, saved=HOSTILE)
def test_no_text_raises_and_the_parts_join_to_the_whole(sent, saved):
    problem(sent)
    assert is_loopback(sent) in (True, False)
    assert is_private_use(sent) in (True, False)
    assert matches(sent, [saved]) or sent != saved
    assert nearest(sent, [saved, SAVED]) in (saved, SAVED)
    parts = explain(sent, saved)
    assert "".join(part.sent for part in parts) == sent
    assert "".join(part.saved for part in parts) == saved
    assert any(part.differs for part in parts) is (sent != saved)
    assert sentence(sent, saved)


@given(sent=HOSTILE)
def test_what_may_be_saved_needs_no_escaping(sent):
    if problem(sent) is None:
        assert not set(sent) & set('<>"\\ \n\0#*')
        assert sent.isascii()
        assert redirect_uris.matches(sent, [sent])
