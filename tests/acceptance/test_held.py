"""`cdc held`: what the breaker holds, and a person's answer."""

from __future__ import annotations

import pytest

from tests.acceptance.processes import Cdc, Crm
from tests.support.postgres import Database

pytestmark = pytest.mark.timeout(300)


def test_what_is_held_is_listed_shown_approved_and_rejected(configured: Cdc, source: Database, crm: Crm) -> None:
    assert configured("run", "--until-idle").code == 0
    source.execute(
        "with accounts as (insert into auth.users (id, email) select gen_random_uuid(), n || '@example.org'"
        " from generate_series(1, 150) n returning id, email)"
        " insert into public.users (id, first_name, last_name, display_name, email, role, date_of_birth)"
        " select id, 'P', 'Q', 'Crowd ' || email, email, 'student', '2000-01-01' from accounts"
    )
    assert configured("run", "--until-idle", within=180).code == 0
    source.execute("update public.users set display_name = 'Oops'")
    assert configured("run", "--until-idle", within=180).code == 3
    assert sum(record["Display_Name"] == "Oops" for record in crm.records("Contacts")) <= 100, "the limit"

    [group] = configured("held", "list", "--json").json
    assert (group["feed"], group["kind"]) == ("contacts", "rewrite")
    assert group["fields"] == {"Display_Name": group["keys"]}
    assert "update public.users" in group["causes"][0]["words"]
    told = configured("held")
    assert "transaction" in told.out
    assert "Oops" not in told.out, "no value is shown"
    assert group["sample"][0] in configured("held", "show", "contacts", "--limit", "500").out
    assert "held" in configured("status").out
    assert "cdc held" in configured("failures", "list").err

    configured("held", "reject", "contacts", "--because", " ").refused(2, "--because")
    first = group["sample"][0]
    assert configured("held", "reject", "contacts", first, "--because", "a mistake").out == "1 rejected\n"
    as_of = str(group["as_of"])
    approved = configured("held", "approve", "contacts", "--kind", "rewrite", "--as-of", as_of, "--because", "meant")
    assert approved.out == f"{group['keys'] - 1} approved\n"
    assert configured("run", "--until-idle", within=180).code == 3, "one is left: rejected"
    named = [record["Display_Name"] for record in crm.records("Contacts") if record["External_ID"] == first]
    assert named != ["Oops"]
    assert sum(record["Display_Name"] == "Oops" for record in crm.records("Contacts")) > 100
    assert configured("sweep").code in (0, 3)
    assert configured("failures", "list", "--json").json[0]["reason"] == "REJECTED"
