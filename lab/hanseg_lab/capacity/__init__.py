"""How many cases so many hosts do: the service's queues, simulated by SimPy.

`hanseg capacity` takes what each stage was measured to take, lets cases arrive as in a
clinic, and has simulated workers choose them by the service's own rule. What is assumed
stands in ``docs/how-to/capacity.md``.
"""
