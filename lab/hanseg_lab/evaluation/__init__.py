"""How good results are: distances and overlaps against a reference."""
