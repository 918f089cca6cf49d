"""mq-bridge's `postgres_cdc` consumer (Rust): a message for each change, acknowledged by batch."""

from __future__ import annotations

from urllib.parse import quote

from measuring import Meter, asked
from mq_bridge import Consumer


def main() -> None:
    wanted = asked()
    url = "postgresql://{user}@{host}:{port}/{dbname}".format(**{**wanted, "host": quote(wanted["host"], safe="")})
    consumer = Consumer.from_config(
        {
            "postgres_cdc": {
                "url": url, "slot_name": wanted["slot"], "publication": wanted["publication"],
                "create_slot": False, "create_publication": False,
            }
        }
    )  # fmt: skip
    meter = Meter(wanted["changes"], with_times=wanted["with_times"])
    while True:
        messages = consumer.poll(10_000, timeout_ms=1_000)
        consumer.commit()
        if meter.count(len(messages)):
            meter.report()
            return


main()
