"""The command line, one module for each group of commands.

Exit codes: 0 fine; 1 an error; 2 a setting, the database or the profile isn't as it must be, and nothing was changed;
3 done, but something is parked, paused or out of step; 130 interrupted twice. Data goes to stdout, talk to stderr.
"""

from cdc.cli.app import main

__all__ = ["main"]
