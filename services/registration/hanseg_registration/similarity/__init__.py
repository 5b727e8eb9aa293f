"""How well two images agree at a pose: values, edges, drift, held-out points."""
