"""The URLs of the inbox and its requests."""

from django.urls import path

from approvals.web.pages import views

urlpatterns = [
    path("", views.inbox, name="inbox"),
    path("rows/", views.rows, name="rows"),
    path("requests/<uuid:request_id>/", views.request_page, name="request"),
    path("requests/<uuid:request_id>/viewed/", views.mark_viewed, name="request-viewed"),
    path("requests/<uuid:request_id>/withdraw/", views.withdraw, name="request-withdraw"),
    path("requests/<uuid:request_id>/arguments.json", views.arguments, name="request-arguments"),
]
