"""`python -m cdc`: the `cdc` command where its script isn't on the path."""

from __future__ import annotations

from cdc.cli import main

if __name__ == "__main__":
    main()
