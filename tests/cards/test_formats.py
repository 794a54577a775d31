"""Whatever a registration holds, the file on the card reads exactly that back and no more."""

import ast
import configparser
import json
import re
import shlex
import tomllib

import pytest
import yaml

from portal import cards
from portal.models import Application

ISSUER = "https://login.example.org"
#: Nobody can save such values on a page; a file must not be broken by them all the same.
HOSTILE = "a\"b'c\\d`e$f${HOME}#{1}\n; g<h>\u2028i\x85%j!\U0001f600"
CLEAN = "c_Ab.d~-_3"


def application(**fields) -> Application:
    """One that is not saved, since no table would take what it holds."""
    fields = {
        "client_id": CLEAN,
        "name": "Acme",
        "grants": ["authorization_code", "client_credentials", "refresh_token"],
        "redirect_uris": ["https://app.example.org/callback"],
        "scopes": ["openid", "email"],
        **fields,
    }
    return Application(**fields)


def texts(card: str, **fields) -> list[str]:
    filled = cards.fill(cards.card_named(card), application(**fields), ISSUER)
    return [text.content for text in filled.texts]


def calls(source: str) -> dict[str, object]:
    """The keyword arguments and dictionary entries of a Python file that are plain values."""
    found: dict[str, object] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            found[node.arg or ""] = node.value.value
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
                    found[key.value] = value.value
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            found[node.targets[0].id] = node.value.value
    return found


def shell_words(text: str) -> list[str]:
    return shlex.split(text, comments=True)


def client_id_in(name: str, found: list[str]) -> str:
    """The client ID as the software itself would read it."""
    if name in ("generic", "nextcloud", "curl"):
        words = shell_words(found[0])
        if name == "generic":
            return next(w for w in words if w.startswith("OIDC_CLIENT_ID="))[15:]
        if name == "nextcloud":
            return next(w for w in words if w.startswith("--clientid="))[11:]
        return words[words.index("-u") + 1].removesuffix(":$CLIENT_SECRET")
    if name == "grafana":
        reader = configparser.RawConfigParser()
        reader.read_string(found[0])
        return reader["auth.generic_oauth"]["client_id"].strip("`")
    if name == "gitlab":
        raw = re.search(r"identifier: '((?:[^'\\]|\\.)*)',\n", found[0])[1]
        return re.sub(r"\\(['\\])", r"\1", raw)
    if name in ("flask", "django", "allauth"):
        values = calls(found[0])
        return values.get("client_id") or values["OIDC_RP_CLIENT_ID"]
    if name == "spring":
        client = yaml.safe_load(found[0])["spring"]["security"]["oauth2"]["client"]
        return client["registration"]["sso"]["client-id"]
    if name == "aspnet":
        return json.loads(found[0])["Portal"]["ClientId"]
    if name == "oauth2-proxy":
        return tomllib.loads(found[0])["client_id"]
    if name == "apache":
        raw = re.search(r'^OIDCClientID "((?:[^"\\]|\\.)*)"$', found[0], re.M)[1]
        return re.sub(r'\\(["\\])', r"\1", raw)
    raw = re.search(r'new URL\("[^"]*"\), ("(?:[^"\\]|\\.)*"),\n', found[0])[1]
    return json.loads(raw)


NAMES = [card.name for card in cards.CARDS]
#: These formats have no way to write everything; what they cannot is replaced.
LIMITED = {
    "grafana": r"[^\x20-\x7e]|[`{}]",
    "gitlab": r"[^\x20-\x7e]",
    "apache": r"[^\x20-\x7e]|[{}]",
}


@pytest.mark.parametrize("confidential", [True, False], ids=["confidential", "public"])
@pytest.mark.parametrize("name", NAMES)
def test_each_card_has_the_client_id(name, confidential):
    public = {} if confidential else {"grants": ["authorization_code"]}
    found = texts(name, confidential=confidential, **public)
    if name == "curl" and not confidential:
        assert f"client_id={CLEAN}" in shell_words(found[0])
    else:
        assert client_id_in(name, found) == CLEAN


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_value_stays_one_value(name):
    found = texts(name, client_id=HOSTILE, name=HOSTILE, scopes=["openid", HOSTILE])
    limited = LIMITED.get(name)
    meant = re.sub(limited, "�", HOSTILE) if limited else HOSTILE
    assert client_id_in(name, found) == meant


@pytest.mark.parametrize("name", NAMES)
def test_a_name_never_leaves_its_comment(name):
    """Each line of a file is the same, whatever the application is called, but the comment."""
    hostile = texts(name, name="Evil\nrm -rf /\n\\")
    plain = texts(name, name="Evil")
    for mine, theirs in zip(hostile, plain, strict=True):
        different = [
            line
            for line, other in zip(mine.splitlines(), theirs.splitlines(), strict=True)
            if line != other
        ]
        assert all(re.match(r"(#|//|;) Evil rm -rf /", line) for line in different)
        assert not any(line.endswith("\\") for line in different)


def test_the_secret_is_on_no_card():
    """Only a place for it: the portal keeps its hash alone."""
    for card in cards.CARDS:
        filled = "".join(texts(card.name))
        expected = ("<paste the client secret>", "CLIENT_SECRET", "ClientSecret")
        assert any(word in filled for word in expected), card.name


@pytest.mark.parametrize("name", ["generic", "flask", "express", "spring", "aspnet", "apache"])
def test_a_public_application_is_told_of_no_secret(name):
    public = "".join(texts(name, confidential=False, grants=["authorization_code"]))
    assert "secret" not in public.lower().replace("app.secret_key", "").replace(
        "session({ secret:", ""
    )
