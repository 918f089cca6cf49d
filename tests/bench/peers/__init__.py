"""Adapters for the peers: small programs, each run by an environment of its own (`environments.py`).

An adapter gets one argument, a JSON object: where the server is, slot, publication, and how many changes to read. It
says in the end, as a JSON object, what `measuring.Meter` found. It imports nothing of this project but `measuring`, and
stores nothing.
"""
