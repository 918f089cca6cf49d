"""Handlers of the API, by group; each gets the simulation and a call that the gate let through."""
