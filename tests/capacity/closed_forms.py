"""What queueing theory says of queues that it can solve, to check the simulation by.

Times are seconds, rates are cases a second. Sources: Kleinrock, Queueing Systems,
volume 1 (1975), sections 3.5 and 5.6; volume 2 (1976), section 3.4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def erlang_c(servers: int, offered: float) -> float:
    """The share of cases that wait in M/M/c.

    Args:
        servers: How many there are.
        offered: Arrivals times mean service, in servers; below `servers`.
    """
    terms = [offered**k / math.factorial(k) for k in range(servers)]
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(terms) + last)


def mean_wait_mmc(rate: float, mean: float, servers: int) -> float:
    """The mean wait in M/M/c, of all cases."""
    offered = rate * mean
    return erlang_c(servers, offered) * mean / (servers - offered)


def share_waiting_longer_mmc(
    rate: float, mean: float, servers: int, seconds: float
) -> float:
    """The share of cases that wait longer than some time in M/M/c."""
    offered = rate * mean
    decay = (servers - offered) / mean
    return erlang_c(servers, offered) * math.exp(-decay * seconds)


def mean_wait_mg1(rate: float, mean: float, variation: float) -> float:
    """The mean wait in M/G/1 (Pollaczek and Khinchine); M/D/1 without variation.

    Args:
        rate: Of arrivals.
        mean: Of service.
        variation: Standard deviation of service, in means.
    """
    load = rate * mean
    return load * mean * (1 + variation**2) / (2 * (1 - load))


def mean_waits_by_priority(rates: Sequence[float], mean: float) -> list[float]:
    """The mean waits in M/D/1 by priority, the highest first (Cobham 1954).

    Who is served is not interrupted.
    """
    residual = sum(rates) * mean**2 / 2
    waits, above = [], 0.0
    for rate in rates:
        below = above + rate * mean
        waits.append(residual / ((1 - above) * (1 - below)))
        above = below
    return waits
