"""The Django app of orchestrations, which registers runs as an origin of requests, and their API."""

from __future__ import annotations

from django.apps import AppConfig


class OrchestrationAppConfig(AppConfig):
    name = "orchestration"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from approvals.queries.origin_resolvers import register
        from approvals.web.api.routers import add_router
        from orchestration.runs.request_origins import KIND, resolver

        register(KIND, resolver())
        add_router(
            "orchestration.web.api.runs.router",
            refuses="orchestration.exceptions.OrchestrationError",
            tag="runs",
        )
