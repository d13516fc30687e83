"""Ids as people shorten them."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from approvals.queries import short_ids


@given(number=st.integers(0, 2**128 - 1), length=st.integers(4, 32), data=st.data())
def test_every_id_is_found_by_each_of_its_beginnings_and_by_no_other(
    number: int, length: int, data: st.DataObject
) -> None:
    """With hyphens in any place, and in either case."""
    wanted = UUID(int=number)
    digits = "".join(
        data.draw(st.sampled_from([digit, digit.upper(), f"-{digit}"])) for digit in wanted.hex[:length]
    )
    found = short_ids.range_of(digits)
    assert found is not None
    first, last = found
    assert first <= wanted <= last
    assert first.hex[:length] == last.hex[:length] == wanted.hex[:length]
    assert (UUID(int=first.int - 1).hex[:length] if first.int else "") != wanted.hex[:length]
    assert (UUID(int=last.int + 1).hex[:length] if last.int < 2**128 - 1 else "") != wanted.hex[:length]
