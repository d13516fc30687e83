"""Static files, served from the apps as they are, and compressed on the way where the browser takes that.

Pages are not compressed: they have secrets beside what others may choose, whose length would tell.
"""

from __future__ import annotations

import gzip
from functools import lru_cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from whitenoise.middleware import WhiteNoiseMiddleware

_TEXTS = ("text/", "image/svg+xml", "application/json")


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Serves static files as WhiteNoise does, whole texts compressed."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponseBase:
        response: Any = WhiteNoiseMiddleware.serve(static_file, request)
        if response.status_code != 200 or not response["Content-Type"].startswith(_TEXTS):
            return response  # type: ignore[no-any-return]
        patch_vary_headers(response, ["Accept-Encoding"])
        if request.method != "GET" or "gzip" not in request.headers.get("Accept-Encoding", ""):
            return response  # type: ignore[no-any-return]
        compressed = HttpResponse(_compress(b"".join(response.streaming_content)), headers=response.headers)
        response.close()
        compressed["Content-Encoding"] = "gzip"
        compressed["Content-Length"] = str(len(compressed.content))
        # It is of the other bytes; browsers ask again by `Last-Modified`.
        del compressed["ETag"]
        return compressed


@lru_cache(maxsize=64)
def _compress(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)
