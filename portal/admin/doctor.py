"""The doctor: why something was refused, and the press that puts it right."""

from flask import abort, flash, request
from werkzeug.wrappers import Response

from portal import approval, audit
from portal.admin import blueprint
from portal.admin.doctor_page import Case, case_of, cases_of, others_with
from portal.database import transaction
from portal.htmx import render
from portal.models import Application, Refusal, User
from portal.models.application import AUTHORIZATION_CODE
from portal.oauth import application_rules, in_use
from portal.oauth.mismatch import ONE_PRESS, REFUSED
from portal.security import see_other

ADDRESS = "/admin/doctor"
SHOWN = 30

REGISTER, REPLACE = "register", "replace"


@blueprint.get("/doctor")
def list_refusals() -> Response:
    """Who waits for help, and the latest refusals; `?reference=` goes to one of them."""
    reference = request.args.get("reference", "").strip()
    refusal = Refusal.with_reference(reference)
    if refusal:
        return see_other(f"{ADDRESS}/{refusal.reference}")
    return render(
        "admin/doctor/index.html",
        status=404 if reference else 200,
        reference=reference,
        waiting=[case for case in cases_of(Refusal.told()) if case.is_waiting],
        cases=cases_of(Refusal.latest(SHOWN)),
        errors=bool(reference),
    )


@blueprint.get("/doctor/<reference>")
def show_refusal(reference: str) -> Response:
    """One refusal: what was sent, what to change, and the buttons; 404 when it is gone."""
    return _page(_find(reference))


@blueprint.get("/doctor/<reference>/register")
def confirm_registration(reference: str) -> Response:
    """Say what registering the address beside the others does."""
    return _confirm_page(_find(reference), REGISTER)


@blueprint.post("/doctor/<reference>/register")
def register_address(reference: str) -> Response:
    """Save the address that was sent beside the others."""
    return _act(_find(reference), REGISTER)


@blueprint.get("/doctor/<reference>/replace")
def confirm_replacement(reference: str) -> Response:
    """Say what replacing the registered address does."""
    return _confirm_page(_find(reference), REPLACE)


@blueprint.post("/doctor/<reference>/replace")
def replace_address(reference: str) -> Response:
    """Save the address that was sent in the place of the one that it comes nearest to."""
    return _act(_find(reference), REPLACE)


@blueprint.post("/doctor/<reference>/done")
def settle_refusal(reference: str) -> Response:
    """Take the notice away; the refusal stays in the list."""
    _find(reference).refusal.settle()
    flash("The notice is gone. The next person who meets this can tell the owner again.", "success")
    return see_other(ADDRESS)


# What the routes share


def _find(reference: str) -> Case:
    refusal = Refusal.with_reference(reference) or abort(404)
    return case_of(refusal, _application(refusal))


def _application(refusal: Refusal) -> Application | None:
    mine = Application.id == refusal.application_id
    return Application.select(Application, User).join(User).where(mine).first()


def _page(case: Case, status: int = 200) -> Response:
    return render(
        "admin/doctor/show.html",
        status=status,
        case=case,
        others=others_with(case),
        one_press=case.verdict is not None and case.verdict.how == ONE_PRESS,
        refused=case.verdict is not None and case.verdict.how == REFUSED,
    )


def _confirm_page(case: Case, what: str) -> Response:
    stop = _stopped(case)
    if stop:
        return stop
    served = ""
    if what == REPLACE and case.application and case.shown.saved:
        served = in_use.served(case.application, case.shown.saved)
    return render(
        "admin/doctor/confirm.html", case=case, what=what, others=others_with(case), served=served
    )


def _stopped(case: Case) -> Response | None:
    """The answer when the address cannot be saved from here."""
    if case.verdict is None or case.application is None:
        flash("There is nothing to save: the address is registered.", "info")
        return see_other(f"{ADDRESS}/{case.refusal.reference}")
    return _page(case, 422) if case.verdict.how == REFUSED else None


def _act(case: Case, what: str) -> Response:
    stop = _stopped(case)
    if stop:
        return stop
    here = f"{ADDRESS}/{case.refusal.reference}"
    assert case.verdict
    assert case.application
    if case.verdict.how != ONE_PRESS and request.form.get("confirmed") != "y":
        return see_other(f"{here}/{what}")
    sent, former = case.refusal.detail, request.form.get("saved", "") if what == REPLACE else None
    problem = _save(case.application, case.refusal, sent, former)
    if problem:
        flash(problem, "error")
    else:
        flash(f"{sent} is registered: the next sign-in works. Nothing else changed.", "success")
    return see_other(here)


def _save(application: Application, refusal: Refusal, sent: str, former: str | None) -> str | None:
    """Change the addresses as they are now; returns what is in the way."""
    with transaction():
        # As it is now, and nobody else changes it until this is done.
        Application.update(version=Application.version).where(
            Application.id == application.id
        ).execute()
        fresh = Application.get_or_none(Application.id == application.id)
        gone = former is not None and fresh is not None and former not in fresh.redirect_uris
        if fresh is None or gone or not fresh.allows_grant(AUTHORIZATION_CODE):
            return "Somebody changed the application since: look at what is saved now."
        before = fresh.redirect_uris
        after = [*before, sent] if former is None else [sent if u == former else u for u in before]
        changed = {**fresh.__data__, "redirect_uris": list(dict.fromkeys(after))}
        old = application_rules.problems(fresh.__data__, fresh.scopes)
        new = [it for it in application_rules.problems(changed, fresh.scopes) if it not in old]
        if new:
            return new[0].sentence
        fresh.change(redirect_uris=changed["redirect_uris"])
        audit.record(
            f"application.redirect_uri_{'registered' if former is None else 'replaced'}",
            application=fresh,
            before={"redirect_uris": before},
            after={"redirect_uris": fresh.redirect_uris},
        )
        approval.follow(fresh)
        refusal.settle()
    return None
