"""When a slower lane leaves: at the end of a window of the clock, everything in it together.

If each key waited its own five minutes, each would leave alone, and a call costs as much for one record as for ten.
So keys wait for the same moment: half a window on average, a whole one at most.
"""

from __future__ import annotations

from datetime import datetime


def seconds_until_window_ends(now: datetime, window_seconds: float) -> float:
    """Say how long it is until the clock's current window ends.

    Args:
        now: aware.
        window_seconds: its length; windows are counted from 1970, so that all processes agree on them.

    Returns:
        More than 0 and at most `window_seconds`; 0 if there is no window.
    """
    if window_seconds <= 0:
        return 0.0
    return window_seconds - now.timestamp() % window_seconds
