"""The application: routes, errors and layers around them, put together in one place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute

from hanseg_segmentation.api.context import (
    CheckCase,
    Compare,
    Context,
    ConvertCase,
    Pace,
    WriteSigned,
)
from hanseg_segmentation.api.dicom_case import convert_case as convert_in_child
from hanseg_segmentation.api.http import openapi, problem_responses
from hanseg_segmentation.api.http.audit import Audit
from hanseg_segmentation.api.http.body import BodyLimits
from hanseg_segmentation.api.http.gate import Gate
from hanseg_segmentation.api.http.observer import Observer
from hanseg_segmentation.api.http.origin import OriginGuard
from hanseg_segmentation.api.http.prefix import Prefixed, require_free
from hanseg_segmentation.api.http.prometheus import Metrics
from hanseg_segmentation.api.http.proxies import NamedProxies, names_among
from hanseg_segmentation.api.http.query import refuse_odd_parameters
from hanseg_segmentation.api.intake.admission import free_bytes
from hanseg_segmentation.api.places import Shares
from hanseg_segmentation.api.reservations import Reservations
from hanseg_segmentation.api.routes import (
    archive,
    batches,
    catalogue,
    commissioning,
    corrections,
    docs_page,
    health,
    jobs,
    metrics,
    page,
    results,
    review,
    session,
    statistics,
    stow,
    templates,
    uploads,
    view,
    webhooks,
    worklist,
)
from hanseg_segmentation.api.versions import Versions
from hanseg_segmentation.api.web.site import BUILT, Site
from hanseg_segmentation.packages import installed
from hanseg_shared.io.sandbox import check_case_in_child
from hanseg_shared.jobs.audit import Event
from hanseg_shared.jobs.passes import PassThread
from hanseg_shared.jobs.reconciler import Reconciler
from hanseg_shared.jobs.scratch import Scratch
from hanseg_shared.jobs.services import Services
from hanseg_shared.review.hand_on import write_in_child
from hanseg_shared.review.sandbox import compare_in_child
from hanseg_shared.settings import Settings

ROUTERS = (
    jobs.router,
    worklist.router,
    archive.router,
    results.router,
    view.router,
    review.router,
    corrections.router,
    statistics.router,
    uploads.router,
    stow.router,
    templates.router,
    webhooks.router,
    batches.router,
    catalogue.router,
    commissioning.router,
    health.router,
    metrics.router,
    session.router,
    page.router,
    docs_page.router,
)


def create_app(
    services: Services,
    *,
    check_case: CheckCase = check_case_in_child,
    convert_case: ConvertCase = convert_in_child,
    compare: Compare = compare_in_child,
    write_signed: WriteSigned = write_in_child,
    model_folders: Sequence[Path] | None = None,
    pace: Pace | None = None,
    reconcile: bool = True,
    page_folder: Path = BUILT,
) -> FastAPI:
    """Return the application.

    Args:
        services: Database, store, broker and settings; the caller closes them.
        check_case: How images are looked at before a job is made of them.
        convert_case: How DICOM becomes the images that are looked at.
        compare: How corrections are read and compared.
        write_signed: How what is handed on of a signed review is written.
        model_folders: Where model packages are; those that ship, and the folder of
            the settings, by default.
        pace: How often things happen.
        reconcile: Whether a reconciler runs while the application does.
        page_folder: Where the built files of the page are.
    """
    pace = pace or Pace()
    context = Context(
        services=services,
        check_case=check_case,
        convert_case=convert_case,
        compare=compare,
        write_signed=write_signed,
        model_folders=tuple(
            model_folders or installed.model_folders(services.settings.models)
        ),
        pace=pace,
        streams=Shares(
            services.settings.max_streams,
            a_caller=services.settings.max_streams_a_caller,
        ),
        room=Reservations(
            partial(free_bytes, services),
            least=services.settings.min_free_bytes,
            announced=services.tables.uploads.announced_bytes,
        ),
        versions=Versions(services.tables.jobs.versions, every=pace.poll),
    )
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # the router of the docs has it, with the checks of all
        lifespan=_lifespan(context, reconcile=reconcile),
        separate_input_output_schemas=False,
        redirect_slashes=False,
    )
    app.state.context = context
    app.state.metrics = Metrics(services)
    app.state.gate = Gate(services)
    app.state.site = Site(page_folder)
    app.state.body_limits = BodyLimits(
        max_upload_bytes=services.settings.max_upload_bytes, room=context.room
    )
    app.router.routes.extend(_every_route().routes)
    problem_responses.install(app)
    describe = partial(_describe, services.settings.root_path or "")
    app.openapi = describe  # type: ignore[method-assign]  # as FastAPI documents it
    _add_layers(app, services)
    return app


def _add_layers(app: FastAPI, services: Services) -> None:
    """Put around the routes what every request goes through, the innermost first."""
    settings = services.settings
    app.add_middleware(Audit, record=services.tables.audit.record)
    app.add_middleware(OriginGuard, settings=settings)
    app.add_middleware(Observer, metrics=app.state.metrics, tracer=services.tracer)
    if settings.root_path is not None:
        require_free(settings.root_path, _paths())
        app.add_middleware(Prefixed, prefix=settings.root_path)
    proxies = names_among(settings.proxies)
    if proxies:
        app.add_middleware(NamedProxies, names=proxies)


def _paths() -> list[str]:
    routes = (route for router in ROUTERS for route in router.routes)
    return [route.path for route in routes if isinstance(route, APIRoute)]


@cache
def _every_route() -> APIRouter:
    """Return all routes behind the checks of all, which applications share.

    To work out what each route takes and returns is most of an application's start; a
    route finds its application in the request.
    """
    joined = APIRouter(dependencies=[Depends(refuse_odd_parameters)])
    for router in ROUTERS:
        joined.include_router(router)
    return joined


@cache
def _describe(prefix: str) -> dict[str, Any]:
    """Return the document of all routes, which takes tenths of a second to make."""
    return openapi.describe(_every_route().routes, prefix)


def _lifespan(
    context: Context, *, reconcile: bool
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    services = context.services

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await run_sync(app.openapi)  # parameters are checked against it
        await run_sync(Scratch(services.settings.scratch).sweep)
        await run_sync(installed.find_models, context.model_folders)  # logs
        await run_sync(services.tables.audit.record, _start_event(services.settings))
        reconciler = PassThread(
            "reconciler",
            Reconciler(services).run_once,
            interval_seconds=services.settings.reconcile_seconds,
        )
        if reconcile:
            reconciler.start()
        try:
            yield
        finally:
            context.stopping.set()
            if reconcile:
                await run_sync(reconciler.stop)

    return lifespan


def _start_event(settings: Settings) -> Event:
    """Return the start of the API and the settings that say how long things stay."""
    told = {
        name: value
        for name in sorted(Settings.model_fields)
        if isinstance(value := getattr(settings, name), int | float | str)
    }
    told.pop("store_uri", None)  # may hold credentials
    return Event("start_api", details=told)
