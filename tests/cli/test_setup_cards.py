"""`application setup`: the text of a card, for a pipe."""

import json

from tests.factories import make_application


def test_it_prints_the_text_of_the_page(app):
    application, _ = make_application()
    done = app.test_cli_runner().invoke(
        args=["application", "setup", application.client_id, "--for", "flask"]
    )
    assert done.exit_code == 0
    compile(done.stdout, "app.py", "exec")
    assert f'client_id="{application.client_id}"' in done.stdout


def test_what_does_not_fit_is_a_warning_beside_it(app):
    application, _ = make_application()
    done = app.test_cli_runner().invoke(
        args=["application", "setup", application.client_id, "--for", "grafana"]
    )
    assert "Warning: Grafana is called back at" in done.stderr
    assert "Warning" not in done.stdout


def test_it_prints_json(app):
    application, _ = make_application()
    runner = app.test_cli_runner()
    args = ["application", "setup", application.client_id]
    found = json.loads(runner.invoke(args=[*args, "--for", "aspnet", "--json"]).stdout)
    assert [file["title"] for file in found["files"]] == ["appsettings.json", "Program.cs"]
    assert found["problems"] == []
    listed = json.loads(runner.invoke(args=[*args, "--json"]).stdout)
    assert {"card": "curl", "title": "curl", "kind": "Command line"} in listed
    assert "grafana" in runner.invoke(args=args).stdout


def test_a_card_or_application_that_is_not_there_is_one_line(app):
    application, _ = make_application()
    runner = app.test_cli_runner()
    args = ["application", "setup", application.client_id, "--for", "emacs"]
    done = runner.invoke(args=args)
    assert done.exit_code == 2
    assert "There is no card 'emacs': use generic, grafana" in done.stderr
    assert runner.invoke(args=["application", "setup", "nobody"]).exit_code == 2
