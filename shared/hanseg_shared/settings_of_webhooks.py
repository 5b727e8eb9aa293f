"""The settings of webhooks: who may have how many, and where messages may go."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, field_validator
from pydantic_settings import NoDecode


class WebhookSettings(BaseModel):
    """What owners of jobs may have told to other programs."""

    max_webhooks_a_caller: Annotated[int, Field(ge=0)] = 10
    """How many webhooks one caller may have; 0 allows none."""

    webhook_networks: Annotated[tuple[str, ...], NoDecode] = ()
    """Networks of the site's own that messages may go to, such as ``10.1.0.0/16``,
    separated by commas; without, they go to addresses of the public internet alone."""

    webhook_http: bool = False
    """Whether messages may be sent without TLS, to ``http://``."""

    webhook_authorities: Path | None = None
    """File with the certificates of authorities that vouch for receivers: PEM; by
    default those of the system."""

    @field_validator("webhook_networks", mode="before")
    @classmethod
    def _split_networks(cls, value: Any) -> Any:  # noqa: ANN401 - pydantic's own
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("webhook_networks")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                ipaddress.ip_network(each)
            except ValueError as error:
                raise ValueError(f"{each!r} is no network: {error}") from None
        return value
