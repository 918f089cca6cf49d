"""psycopg2's replication cursor: raw messages, nothing decoded."""

from __future__ import annotations

import psycopg2
from measuring import Meter, asked
from psycopg2.extras import LogicalReplicationConnection, StopReplication


def main() -> None:
    wanted = asked()
    conn = psycopg2.connect(
        host=wanted["host"], port=wanted["port"], dbname=wanted["dbname"], user=wanted["user"],
        connection_factory=LogicalReplicationConnection,
    )  # fmt: skip
    cursor = conn.cursor()
    cursor.start_replication(
        slot_name=wanted["slot"], decode=False, status_interval=10,
        options={"proto_version": "1", "publication_names": wanted["publication"]},
    )  # fmt: skip
    meter = Meter(wanted["changes"], with_times=wanted["with_times"])

    def consume(message: psycopg2.extras.ReplicationMessage) -> None:
        if message.payload[0] in b"IUD" and meter.count():
            raise StopReplication

    try:
        cursor.consume_stream(consume)
    except StopReplication:
        meter.report()


main()
