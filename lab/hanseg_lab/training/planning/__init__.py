"""What a training will take of a machine, before it starts."""
