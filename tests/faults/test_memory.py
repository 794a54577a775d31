"""Passwords take 19 MiB each for a moment; a server that many sign in at does not keep them."""

from concurrent.futures import ThreadPoolExecutor

MEGABYTE = 1024 * 1024


def test_many_sign_ins_leave_no_memory_behind(portal):
    portal.start()
    page = portal.get("/login")
    before = portal.memory()

    def sign_in(number: int) -> int:
        data = {"username": f"nobody{number}", "password": "wrong"}
        return portal.post_form("/login", data).status_code

    with ThreadPoolExecutor(40) as threads:
        statuses = set(threads.map(sign_in, range(60)))
    assert page.status_code == 200
    assert statuses == {422}
    # It was 600 MB. A password or two may be under way in each worker, and threads have stacks.
    assert portal.memory() - before < 150 * MEGABYTE
