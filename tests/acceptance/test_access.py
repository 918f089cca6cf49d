"""From `cdc run` to a page in one click, and what a container asks."""

from __future__ import annotations

import re
import signal

import httpx

from tests.acceptance.processes import Cdc, wait_until

PAGE = {"accept": "text/html"}


def test_a_newcomer_clicks_on_what_the_run_prints(cdc: Cdc) -> None:
    with cdc.using(CDC_LOG="json").running("run", "--demo") as run:
        run.says("dashboard http", within=60)
        found = re.search(r"cdc: dashboard (http://127\.0\.0\.1:\d+)(/login\?link=\S+)\n", run.err)
        assert found
        url, path = found.groups()
        with httpx.Client(base_url=url, timeout=30, follow_redirects=True) as browser:
            page = browser.get(path, headers=PAGE)
            assert (page.status_code, page.url.path) == (200, "/")
            assert "From the database to the CRM" in page.text
            wait_until(lambda: browser.get("/api/status").json()["delivered"], what="the first people are in the CRM")
            assert browser.get("/syncz?verbose").text.startswith("[+]status ok\n[+]sync ")
            asked = cdc("healthcheck", "--url", f"{url}/readyz")
            assert (asked.code, asked.out) == (0, "200\n"), asked.err
        logged = [line for line in run.err.splitlines() if line.startswith("{")]
        assert run.stop(signal.SIGTERM).code == 0
    assert logged
    assert not [line for line in logged if path in line], "the link is for the terminal, and in no log line"
    assert cdc("healthcheck", "--url", f"{url}/readyz").code == 1
