"""Putting the parts together: tasks, order of start and stop."""
