"""What facts mean: findings from plain values. Pure."""
