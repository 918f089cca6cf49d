"""Runs `cdc` at a pseudo-terminal, as a person does."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.acceptance.processes import Cdc, wait_until

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HOME = "\x1b[H"


@dataclass
class Terminal:
    """A process at a pseudo-terminal of 80 columns and 24 rows."""

    process: subprocess.Popen[bytes]
    controller: int
    written: bytearray = field(default_factory=bytearray)
    passed: int = 0

    def read(self) -> str:
        """Take what was written so far."""
        while select.select([self.controller], [], [], 0)[0]:
            try:
                piece = os.read(self.controller, 65_536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not piece:
                break
            self.written += piece
        return self.written.decode("utf-8", "replace")

    def shows(self, words: str, within: float = 30.0) -> str:
        return wait_until(lambda: words in ESCAPES.sub("", self.read()) and self.read(), within, what=words)

    def asks(self, words: str, within: float = 30.0) -> None:
        """Wait until it shows this after the last question, and then waits for an answer itself.

        A prompt's space comes last, when the terminal takes keys; what is typed before that may be thrown away.
        """

        def place() -> int:
            text = ESCAPES.sub("", self.read())
            return len(text) if words in text[self.passed :] and text.endswith(": ") else 0

        self.passed = wait_until(place, within, what=f"{words!r} after {self.passed} characters")

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.controller, keys.encode())

    def frames(self) -> list[list[str]]:
        """The pictures that were drawn, as lines of text."""
        return [ESCAPES.sub("", frame).splitlines() for frame in self.read().split(HOME)[1:]]

    def wait(self, within: float = 30.0) -> int:
        deadline = time.monotonic() + within
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.read()[-2000:]
            self.read()
            time.sleep(0.05)
        return self.process.returncode


@contextmanager
def at_terminal(cdc: Cdc, *arguments: str) -> Iterator[Terminal]:
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {"PATH": os.environ["PATH"], "HOME": str(cdc.folder), "TERM": "xterm-256color", **cdc.environment}
    process = subprocess.Popen(
        [cdc.program, *arguments], stdin=terminal, stdout=terminal, stderr=terminal,
        cwd=cdc.folder, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    try:
        yield Terminal(process, controller)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(controller)
