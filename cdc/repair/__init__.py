"""Finding and marking what is out of step."""
