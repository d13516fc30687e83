"""The URLs of the runs' pages."""

from django.urls import path

from approvals.web.edge.own_pages import own
from orchestration.web import views

urlpatterns = own(
    [
        path("runs/", views.runs, name="runs"),
        path("runs/new/", views.start, name="run-start"),
        path("runs/<uuid:run_id>/", views.run_page, name="run"),
        path("runs/<uuid:run_id>/requests/<uuid:request_id>/", views.decide, name="run-request"),
        path("runs/<uuid:run_id>/steps/<int:step_id>.json", views.step_result, name="run-step"),
        path("runs/<uuid:run_id>/cancel/", views.cancel, name="run-cancel"),
        path("runs/<uuid:run_id>/resume/", views.resume, name="run-resume"),
    ]
)
