"""Static files are compressed where the browser takes it; what a browser has is not sent again."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from django.test import Client

FILE = "/static/approvals/sayso.css"


def answer(**headers: str) -> tuple[Any, bytes]:
    response: Any = Client().get(FILE, headers=headers)
    return response, b"".join(response.streaming_content) if response.streaming else response.content


def test_texts_are_compressed_for_those_who_take_it() -> None:
    plain, content = answer()
    packed, fewer = answer(accept_encoding="br, gzip")
    assert gzip.decompress(fewer) == content
    assert len(fewer) == int(packed["Content-Length"]) < len(content) / 2
    assert packed["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain
    for response in (plain, packed):
        assert "Accept-Encoding" in response["Vary"]
        assert response["Content-Type"].startswith("text/css")


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_what_did_not_change_is_not_sent_again(encoding: str) -> None:
    first, _ = answer(accept_encoding=encoding)
    again, content = answer(accept_encoding=encoding, if_modified_since=first["Last-Modified"])
    assert (again.status_code, content) == (304, b"")


def test_parts_and_heads_are_of_the_file_as_it_is() -> None:
    part, content = answer(accept_encoding="gzip", range="bytes=0-9")
    assert (part.status_code, len(content)) == (206, 10)
    head = Client().head(FILE, headers={"accept-encoding": "gzip"})
    assert head["Content-Length"] == answer()[0]["Content-Length"]
