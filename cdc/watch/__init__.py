"""What is watched: the slot's lag and runway, and what holds it back."""
