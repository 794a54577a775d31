"""The architecture, checked: imports point downward, and the URL is the map of the code."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PORTAL = ROOT / "portal"

#: A module may import from its own layer and from those before it.
LAYERS = (
    {"settings", "clock", "credentials", "disk", "letters", "logs", "patience"},
    {"database", "fetch", "mail", "pipeline", "postgres", "silence"},
    {"models"},
    {
        "audit",
        "metrics",
        "observer",
        "i18n",
        "text",
        "htmx",
        "errors",
        "security",
        "backup",
        "cleanup",
        "checkpoint",
        "rotation",
        "attention",
        "reuse",
        "approval",
        "trust",
        "story",
        "copying",
        "health",
        "diagnosis",
        "handover",
        "answers",
    },
    {"oauth", "cards"},
    {"admin", "account", "cli", "serve", "sweep", "worker", "wsgi_bridge", "bounded_http"},
    {"create_app"},
)
#: Neither may know the other, though they share a layer.
STRANGERS = ({"admin", "account"},)
#: Layers below this one must not know about requests.
FIRST_WITH_FLASK = 3

#: Addresses whose module is not called like them, and why.
EXCEPTIONS = {
    "/": "portal.account.login",  # sends people to where they start
    "/device": "portal.oauth.device",  # people type it, so it is short
    "/.well-known": "portal.oauth.metadata",  # RFC 8414 and OpenID Connect Discovery say where
    "/oauth/device_authorization": "portal.oauth.device",  # RFC 8628's other half
    "/oauth/jwks": "portal.oauth.keys",
    "/oauth/par": "portal.oauth.par",
    "/static": "flask.app",
    "/assets": "portal.health",
    "/healthz": "portal.health",
    "/readyz": "portal.health",
    "/metrics": "portal.metrics",
}


def part_of(module: str) -> str:
    """`portal.models.user` belongs to `models`; `portal` itself is `create_app`."""
    return [*module.split("."), "create_app"][1]


def layer_of(part: str) -> int:
    found = [number for number, parts in enumerate(LAYERS) if part in parts]
    assert found, f"portal/{part} has no layer: add it to LAYERS and to the architecture"
    return found[0]


def modules() -> list[tuple[str, Path]]:
    """Every module of the portal by its dotted name; migrations stand on their own."""
    found = []
    for path in sorted(PORTAL.rglob("*.py")):
        dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if not dotted.startswith("portal.migrations"):
            found.append((dotted, path))
    return found


def imported(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it, as far as `from` names tell."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write the whole name instead of a relative import"
            if node.module == "portal":
                names.update(f"portal.{alias.name}" for alias in node.names)
            else:
                names.add(node.module or "")
    return names


MODULES = modules()


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_imports_point_downward(module, path):
    mine = part_of(module)
    for name in imported(path):
        if name.split(".")[0] != "portal":
            continue
        theirs = part_of(name)
        assert layer_of(theirs) <= layer_of(mine), f"{module} imports {name}, a layer above it"
        for pair in STRANGERS:
            assert mine == theirs or not {mine, theirs} <= pair, f"{module} imports {name}"


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_the_lower_layers_know_no_requests(module, path):
    if layer_of(part_of(module)) < FIRST_WITH_FLASK:
        known = {name.split(".")[0] for name in imported(path)}
        # Flask-Login's UserMixin only answers questions about the row.
        assert "flask" not in known
        assert "flask_wtf" not in known


def test_no_module_has_a_name_that_says_nothing():
    for module, _ in MODULES:
        assert module.rpartition(".")[2] not in {"utils", "helpers", "common", "manager", "misc"}


def module_for(rule: str) -> str:
    """The module that an address leads to."""
    steps = [step for step in rule.split("/") if step]
    if steps in (["admin"], ["account"]):  # where administrators and people start
        return {"admin": "portal.admin.applications", "account": "portal.account.profile"}[steps[0]]
    for depth in (2, 1, 0):
        known = EXCEPTIONS.get("/" + "/".join(steps[:depth]))
        if known and (depth or not steps):
            return known
    if steps[0] in ("admin", "account", "oauth"):
        return f"portal.{steps[0]}.{steps[1].replace('-', '_')}"
    return f"portal.account.{steps[0]}"


def test_each_address_leads_to_the_module_of_its_name(app):
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        assert view.__module__ == module_for(rule.rule), rule.rule


def test_each_page_of_the_administrators_has_a_folder_of_templates(app):
    subjects = {r.rule.split("/")[2] for r in app.url_map.iter_rules() if r.rule[:7] == "/admin/"}
    assert subjects
    for subject in subjects:
        assert (ROOT / "templates/admin" / subject).is_dir(), subject


def test_no_template_folder_is_without_a_page(app):
    rules = [rule.rule for rule in app.url_map.iter_rules()]
    for folder in (ROOT / "templates/admin").iterdir():
        assert f"/admin/{folder.name}" in rules
