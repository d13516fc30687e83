"""A server and a Chromium that the tests of a module share."""

from tests.shared import browser, server, shared_chromium, shared_server

__all__ = ["browser", "server", "shared_chromium", "shared_server"]
