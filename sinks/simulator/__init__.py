"""A local Zoho CRM that is never kinder than the real one.

Start it beside a test with `start_simulator`, or as a program with `python -m sinks.simulator`.
"""

from sinks.simulator.config import Edition, SimulatorConfig
from sinks.simulator.server import Announcement, RunningSimulator, run_simulator, start_simulator

__all__ = ["Announcement", "Edition", "RunningSimulator", "SimulatorConfig", "run_simulator", "start_simulator"]
