"""What the application and capture do in the machine."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.stateful.actors import CALL, Capturer
from tests.stateful.application import ROWS, Act, Commit, History, Session, Verb
from tests.stateful.crm import SteppedSink
from tests.stateful.ground import Ground
from tests.stateful.truths import Truths
from tests.support.waiting import until

ACTS = st.builds(
    Act,
    st.sampled_from(Verb),
    st.integers(0, ROWS - 1),
    st.integers(0, 5),
    st.sampled_from([False, False, False, True]),
)
ENDS = st.sampled_from(["commit", "commit", "commit and capture", "commit and capture", "roll back", "leave open"])


class ApplicationRules(RuleBasedStateMachine):
    """The first half of the machine: what is committed, and what of it is captured."""

    ground: ClassVar[Ground]

    def __init__(self) -> None:
        super().__init__()
        self.ground.reset()
        self.history = History()
        self.sinks = {
            "people": SteppedSink(name="memory.people", batch_size=2, call_seconds=CALL),
            "awards": SteppedSink(name="memory.awards", batch_size=2, unique=False, call_seconds=CALL),
        }
        self.sessions = [Session(conn, self.history, 1 + n * ROWS) for n, conn in enumerate(self.ground.apps)]
        self.capturer = Capturer(self.ground)
        self.truths = Truths(self.ground, self.history, self.sinks)
        self.hanging: asyncio.Task[Any] | None = None

    @rule(
        session=st.integers(0, 1),
        acts=st.lists(ACTS, min_size=1, max_size=4),
        end=ENDS,
    )
    def write(self, session: int, acts: list[Act], end: str) -> None:
        chosen = self.sessions[session]
        chosen.write(acts)
        if end.startswith("commit"):
            chosen.commit()
            self.history.note_shown(self.ground.observer)
        elif end == "roll back":
            chosen.roll_back()
        if end.endswith("capture"):
            self._capture_if_seen()

    @precondition(lambda self: any(s.pending is not None for s in self.sessions[:2]))
    @rule(commits=st.booleans())
    def end_open(self, commits: bool) -> None:
        for session in self.sessions[:2]:
            if session.pending is not None:
                session.commit() if commits else session.roll_back()
        self.history.note_shown(self.ground.observer)

    @precondition(lambda self: self.hanging is None)
    @rule(acts=st.lists(ACTS, min_size=1, max_size=2))
    def commit_unseen(self, acts: list[Act]) -> None:
        """A commit is in the log, and nobody sees it yet: it waits for a standby."""
        session = self.sessions[2]
        session.write([Act(Verb.EDIT, 0), *acts])
        before = session.lsn()
        task = self.ground.run(self._commit_in_thread(session))
        assert session.pending is not None
        self.history.commits.append(Commit(session.pending, before))
        self.hanging = task

    async def _commit_in_thread(self, session: Session) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(asyncio.to_thread(session.conn.execute, "commit"))
        query = "select 1 from pg_stat_activity where pid = %s and wait_event = 'SyncRep'"
        pid = session.conn.info.backend_pid
        await until(lambda: self.ground.observer.execute(query, [pid]).fetchall(), what="the wait", interval=0.0005)
        return task

    @precondition(lambda self: self.hanging is not None)
    @rule()
    def commit_seen(self) -> None:
        assert self.hanging is not None
        session, task = self.sessions[2], self.hanging
        self.ground.observer.execute("select pg_cancel_backend(%s)", [session.conn.info.backend_pid])
        self.ground.run(asyncio.wait_for(task, 60))
        session.pending, self.hanging = None, None
        self.history.note_shown(self.ground.observer)

    @precondition(lambda self: self.hanging is None and all(s.pending is None for s in self.sessions))
    @rule(table=st.sampled_from(["people", "awards", "visits"]), captured=st.booleans())
    def truncate(self, table: str, captured: bool) -> None:
        self.sessions[0].truncate(table)
        if captured:
            self._capture_if_seen()

    # -- capture ---------------------------------------------------------------------------------------------------

    @rule(steps=st.integers(1, 20))
    def capture_a_little(self, steps: int) -> None:
        self.ground.run(self.capturer.step(steps))

    @rule()
    def capture_everything(self) -> None:
        self._capture_if_seen()

    def _capture_if_seen(self) -> None:
        """Capture all that is committed, unless it has to wait for a commit that nobody sees."""
        if self.hanging is None:
            self.ground.run(self.capturer.catch_up(self.ground.lsn()))

    @rule(steps=st.integers(0, 30))
    def kill_capture(self, steps: int) -> None:
        """It goes on a little, and dies."""
        self.ground.run(self.capturer.step(steps))
        self.ground.run(self.capturer.kill())
