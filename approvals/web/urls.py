"""The URLs of the inbox and its requests."""

from django.urls import path

from approvals.web.edge.own_pages import own
from approvals.web.pages import (
    accounts,
    away,
    groups,
    news,
    personal_links,
    preferences,
    several,
    tokens,
    unsubscribing,
    views,
)
from approvals.web.pages.vendored import vendored

urlpatterns = own(
    [
        path("", views.inbox, name="inbox"),
        path("files/<str:name>", vendored, name="vendored"),
        path("rows/", views.rows, name="rows"),
        path("decide/", several.decide_several, name="decide-several"),
        path("requests/group/", groups.group_page, name="request-group"),
        path("requests/new/", news.news, name="requests-new"),
        path("requests/<uuid:request_id>/", views.request_page, name="request"),
        path("requests/<uuid:request_id>/viewed/", views.mark_viewed, name="request-viewed"),
        path("requests/<uuid:request_id>/withdraw/", views.withdraw, name="request-withdraw"),
        path("requests/<uuid:request_id>/reassign/", views.hand_on, name="request-reassign"),
        path("requests/<uuid:request_id>/comments/", views.comment, name="request-comments"),
        path("requests/<uuid:request_id>/arguments.json", views.arguments, name="request-arguments"),
        path("d/<str:token>/", personal_links.link, name="personal-link"),
        path("log-in/", accounts.log_in, name="sayso-login"),
        path("log-out/", accounts.log_out, name="sayso-logout"),
        path("preferences/", preferences.preferences, name="preferences"),
        path("preferences/webhooks/", preferences.add_own_webhook, name="webhook-add"),
        path("preferences/addresses/", preferences.add_own_address, name="address-add"),
        path("preferences/addresses/code/", preferences.enter_code, name="address-code"),
        path("preferences/addresses/another-code/", preferences.send_another_code, name="address-another"),
        path("preferences/addresses/drop/", preferences.drop_new_address, name="address-drop"),
        path(
            "preferences/destinations/<int:destination_id>/",
            preferences.change_own_destination,
            name="destination-change",
        ),
        path(
            "preferences/destinations/<int:destination_id>/remove/",
            preferences.remove_own_destination,
            name="destination-remove",
        ),
        path("unsubscribe/<str:token>/", unsubscribing.unsubscribe_page, name="unsubscribe"),
        path("away/", away.away, name="away"),
        path("away/<uuid:delegation_id>/end/", away.end_delegation, name="away-end"),
        path("tokens/", tokens.own_tokens, name="tokens"),
        path("tokens/<uuid:token_id>/revoke/", tokens.revoke_own_token, name="token-revoke"),
    ]
)
