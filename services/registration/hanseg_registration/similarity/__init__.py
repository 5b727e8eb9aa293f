"""How well two images agree in a pose: values, edges, drift, unseen points."""
