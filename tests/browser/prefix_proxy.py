"""A reverse proxy that publishes a service below a path, and nothing beside it."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"]
OF_THE_CONNECTION = {"connection", "transfer-encoding", "keep-alive"}


@contextmanager
def publish(url: str, prefix: str, *, takes_off: bool) -> Iterator[str]:
    """Publish a service below a prefix; yields where, without a slash at its end.

    Args:
        url: The service's own address.
        prefix: The path.
        takes_off: Whether the path is taken off before a request is passed on.
    """
    client = httpx.AsyncClient(base_url=url, timeout=60.0)

    async def pass_on(request: Request) -> Response:
        path = request.path_params["rest"] if takes_off else request.url.path
        asked = client.build_request(
            request.method,
            f"/{path.lstrip('/')}",
            params=request.url.query.encode(),
            headers=request.headers.raw,
            content=None if request.method in {"GET", "HEAD"} else request.stream(),
        )
        told = await client.send(asked, stream=True)

        async def parts() -> AsyncIterator[bytes]:
            try:
                async for part in told.aiter_raw():
                    yield part
            finally:
                await told.aclose()

        answer = StreamingResponse(parts(), told.status_code)
        answer.raw_headers = [
            (name.lower(), value)
            for name, value in told.headers.raw
            if name.lower().decode() not in OF_THE_CONNECTION
        ]
        return answer

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    route = Route(prefix + "{rest:path}", pass_on, methods=METHODS)
    config = uvicorn.Config(
        Starlette(routes=[route], lifespan=lifespan),
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{prefix}"
    finally:
        server.should_exit = True
        thread.join(20)
