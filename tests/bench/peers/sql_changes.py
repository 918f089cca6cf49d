"""`pg_logical_slot_get_binary_changes` in a loop, 5,000 rows at a time: raw messages, nothing decoded."""

from __future__ import annotations

import time

import psycopg
from measuring import Meter, asked


def main() -> None:
    wanted = asked()
    where = {name: wanted[name] for name in ("host", "port", "dbname", "user")}
    with psycopg.connect(**where, autocommit=True) as conn:
        meter = Meter(wanted["changes"], with_times=wanted["with_times"])
        query = (
            "select data from pg_logical_slot_get_binary_changes(%s, null, 5000,"
            " 'proto_version', '1', 'publication_names', %s)"
        )
        while True:
            rows = conn.cursor(binary=True).execute(query, [wanted["slot"], wanted["publication"]]).fetchall()
            if meter.count(sum(row[0][0] in b"IUD" for row in rows)):
                meter.report()
                return
            if not rows:
                time.sleep(0.2)


main()
