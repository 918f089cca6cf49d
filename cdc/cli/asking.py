"""Asks a person one question at a time: default in brackets, `?` for help, secrets unseen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import typer
from rich.console import Console

from cdc.cli.envfile import quoted
from cdc.errors import CdcError

HIDDEN: Final = "********"


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        name: the setting that the answer becomes.
        text: what is asked.
        help: what `?` shows.
        is_secret: neither typed nor shown.
        choices: the answers there are; empty for any.
        may_be_empty: whether Enter without a default is an answer.
    """

    name: str
    text: str
    help: str
    is_secret: bool = False
    choices: tuple[str, ...] = ()
    may_be_empty: bool = False


class Asker:
    """Talks to the person on stderr."""

    def __init__(self, talk: Console) -> None:
        self._talk = talk

    def say(self, *lines: str) -> None:
        """Tell something."""
        for line in lines:
            self._talk.print(line)

    def head(self, text: str) -> None:
        """Begin a part of the conversation."""
        self._talk.print(f"\n── {text}")

    def ask(self, question: Question, default: str = "", *, check: Callable[[str], None] | None = None) -> str:
        """Ask until there is an answer that passes.

        Args:
            question: what.
            default: taken for Enter; shown, unless it is a secret.
            check: raises CdcError for an answer that won't do; the person is told, and asked again.
        """
        shown = HIDDEN if question.is_secret and default else default
        while True:
            text = str(
                typer.prompt(
                    self._worded(question, default),
                    default=shown,
                    show_default=bool(shown),
                    hide_input=question.is_secret,
                    err=True,
                )
            ).strip()
            if text == "?":
                self.say(question.help)
                continue
            answer = default if text == shown else text
            problem = _problem(question, answer)
            if problem is None and answer:
                try:
                    quoted(answer)
                    if check is not None:
                        check(answer)
                except CdcError as error:
                    problem = str(error)
            if problem is None:
                return next((c for c in question.choices if c.lower() == answer.lower()), answer)
            self.say(f"✗ {problem}")

    def choose(self, text: str, help_text: str, choices: Sequence[str], default: str) -> str:
        """Ask for one of a few letters or words."""
        return self.ask(Question("", text, help_text, choices=tuple(choices)), default)

    def confirm(self, text: str, help_text: str, *, default: bool = False) -> bool:
        """Ask yes or no."""
        return self.choose(text, help_text, ("y", "n"), "y" if default else "n") == "y"

    @staticmethod
    def _worded(question: Question, default: str) -> str:
        marked = [c.upper() if c == default and len(c) == 1 else c for c in question.choices]  # y/N, as is the custom
        choices = f" ({'/'.join(marked)})" if marked else ""
        unseen = " (not shown)" if question.is_secret else ""
        return f"{question.text}{unseen}{choices}"


def _problem(question: Question, answer: str) -> str | None:
    if not answer and not question.may_be_empty:
        return "an answer is needed; ? explains, Ctrl-C ends"
    if answer and question.choices and answer.lower() not in {c.lower() for c in question.choices}:
        return f"one of {', '.join(question.choices)}"
    return None
