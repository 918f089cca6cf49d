"""A stop that takes too long is cut off, whatever hangs: a task, or the loop itself."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from cdc.cli.stopping import EXIT_SECONDS
from cdc.settings import Settings

PROGRAM = """
import asyncio, sys, time
from cdc.cli.start import run_until_signalled

async def ends(stop):
    await stop.wait()
    return 0

async def waits_for_ever(stop):
    await stop.wait()
    await asyncio.Event().wait()

async def blocks_the_loop(stop):
    await stop.wait()
    time.sleep(60)

async def main(stop):
    print("ready", flush=True)
    return await globals()[sys.argv[1]](stop)

run_until_signalled(main, drain_seconds=-2.9)
"""


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("ends", 0, None),
        ("waits_for_ever", 130, "stop_cut_short"),
        ("blocks_the_loop", 130, "stop_cut_off"),
    ],
)
def test_a_stop_comes_to_an_end(program: str, code: int, said: str | None) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == code
    assert said is None or said in out
    assert "Traceback" not in out


def test_the_default_leaves_a_host_that_kills_after_30_seconds_some_to_spare() -> None:
    assert Settings.model_fields["cdc_drain_seconds"].default + EXIT_SECONDS <= 25
