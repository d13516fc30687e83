"""Files of other packages come from where those are installed, and are asked for once."""

from __future__ import annotations

from gzip import decompress

import pytest
from django.test import Client

from approvals.web.pages.vendored import FILES, content


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_there(name: str) -> None:
    answer = Client().get(f"/files/{name}")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith(FILES[name][2])
    again = Client().get(f"/files/{name}", headers={"If-None-Match": answer["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", FILES)
def test_a_browser_gets_them_compressed_and_asks_again_in_vain(name: str) -> None:
    browser = {"Accept-Encoding": "gzip"}
    answer = Client(headers=browser).get(f"/files/{name}")
    assert (answer["Content-Encoding"], decompress(answer.content)) == ("gzip", content(name))
    assert len(answer.content) < len(content(name)) / 2
    again = Client(headers=browser).get(f"/files/{name}", headers={"If-None-Match": answer["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_no_other_file_is() -> None:
    assert Client().get("/files/settings.py").status_code == 404
