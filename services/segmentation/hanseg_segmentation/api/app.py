"""The application: routes, errors and layers around them, put together in one place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from anyio.to_thread import run_sync
from fastapi import Depends, FastAPI

from hanseg_segmentation.api.context import CheckCase, Context, Pace
from hanseg_segmentation.api.http import openapi, problem_responses
from hanseg_segmentation.api.http.body import BodyLimit
from hanseg_segmentation.api.http.incoming import remove_abandoned_folders
from hanseg_segmentation.api.http.observer import Observer
from hanseg_segmentation.api.http.prometheus import Metrics
from hanseg_segmentation.api.http.query import refuse_odd_parameters
from hanseg_segmentation.api.routes import (
    batches,
    catalogue,
    docs_page,
    health,
    jobs,
    metrics,
    results,
    uploads,
)
from hanseg_segmentation.packages import installed
from hanseg_shared.io.sandbox import check_case_in_child
from hanseg_shared.jobs.reconciler import Reconciler, ReconcilerThread
from hanseg_shared.jobs.services import Services

ROUTERS = (
    jobs.router,
    results.router,
    uploads.router,
    batches.router,
    catalogue.router,
    health.router,
    metrics.router,
    docs_page.router,
)


def create_app(
    services: Services,
    *,
    check_case: CheckCase = check_case_in_child,
    model_folders: Sequence[Path] | None = None,
    pace: Pace | None = None,
    reconcile: bool = True,
) -> FastAPI:
    """Return the application.

    Args:
        services: Database, store, broker and settings; the caller closes them.
        check_case: How images are looked at before a job is made of them.
        model_folders: Where model packages are; those that ship, and the folder of
            the settings, by default.
        pace: How often things happen.
        reconcile: Whether a reconciler runs while the application does.
    """
    context = Context(
        services=services,
        check_case=check_case,
        model_folders=tuple(
            model_folders or installed.model_folders(services.settings.models)
        ),
        pace=pace or Pace(),
    )
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # the router of the docs has it, with the checks of all
        dependencies=[Depends(refuse_odd_parameters)],
        lifespan=_lifespan(context, reconcile=reconcile),
        separate_input_output_schemas=False,
        redirect_slashes=False,
    )
    app.state.context = context
    app.state.metrics = Metrics(services)
    for router in ROUTERS:
        app.include_router(router)
    problem_responses.install(app)
    openapi.install(app)
    app.add_middleware(BodyLimit, max_upload_bytes=services.settings.max_upload_bytes)
    app.add_middleware(Observer, metrics=app.state.metrics)
    return app


def _lifespan(
    context: Context, *, reconcile: bool
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    services = context.services

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_sync(remove_abandoned_folders, services.settings)
        await run_sync(installed.find_models, context.model_folders)  # logs
        reconciler = ReconcilerThread(
            Reconciler(services),
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
