"""Hours of everything at once: `python -m tests.soak --minutes 30 --seed 1`, or `make soak MINUTES=30`."""
