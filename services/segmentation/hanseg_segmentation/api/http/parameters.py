"""Header fields that several routes take, as their parameters."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

IfNoneMatch = Annotated[
    str | None, Header(description="ETag of what is known already.")
]
Range = Annotated[
    str | None,
    Header(alias="Range", description="One range of bytes.", examples=["bytes=0-1023"]),
]
IfRange = Annotated[
    str | None, Header(description="The ETag that the range belongs to.")
]
