"""The settings of the database, and of the connections that a process keeps to it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, SecretStr


class DatabaseSettings(BaseModel):
    """Which database, how many connections, and what is waited for; in seconds.

    All but the URL are of PostgreSQL; SQLite is a file.
    """

    database_url: SecretStr | None = None
    """SQLAlchemy URL; SQLite in `data` by default, PostgreSQL for several hosts."""

    database_connections: Annotated[int, Field(ge=1, le=1000)] = 10
    """Connections that a process keeps open once it has needed them."""

    database_further_connections: Annotated[int, Field(ge=0, le=1000)] = 30
    """How many more a crowd of requests may open for a moment."""

    database_wait_seconds: Annotated[float, Field(gt=0)] = 10.0
    """How long a request waits for a connection when all are taken."""

    database_connect_seconds: Annotated[int, Field(ge=1)] = 5
    """How long PostgreSQL may take to accept a connection."""

    database_statement_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How long a statement may take, and a transaction that does nothing."""

    database_recycle_seconds: Annotated[int, Field(ge=1)] = 1800
    """After so long a connection is opened anew: what lies between, such as a firewall
    or a balancer, may have forgotten it."""
