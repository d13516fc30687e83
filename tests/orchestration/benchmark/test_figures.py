"""Figures out of samples."""

from __future__ import annotations

from collections import Counter

import pytest

from orchestration.benchmark.figures import Ratio, in_turns, percentile
from orchestration.benchmark.words import cell, number


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_a_percentile_is_a_sample(share: float, expected: int) -> None:
    assert percentile(range(100, 0, -1), share) == expected


def test_a_ratio_is_of_figures_of_the_same_round() -> None:
    ratio = Ratio.of([2.0, 30.0, 8.0], [1.0, 10.0, 2.0])
    assert (ratio.median, ratio.least, ratio.most) == (3.0, 2.0, 4.0)
    assert str(ratio) == "3.00 (2.00-4.00)"


def test_each_contender_has_each_place_equally_often() -> None:
    contenders = ("a", "b", "c")
    orders = [in_turns(contenders, number) for number in range(6)]
    for place in range(3):
        assert Counter(order[place] for order in orders) == dict.fromkeys(contenders, 2)


@pytest.mark.parametrize(
    ("value", "words"), [(0.0, "0"), (0.01234, "0.0123"), (12.345, "12.3"), (1234.5, "1,234"), (99.96, "100")]
)
def test_numbers_have_three_digits_that_count(value: float, words: str) -> None:
    assert number(value) == words


@pytest.mark.parametrize(
    ("value", "words"), [(None, "-"), (12000, "12,000"), (1.5, "1.5"), ("Sayso", "Sayso")]
)
def test_cells_are_written_for_people(value: float | str | None, words: str) -> None:
    assert cell(value) == words
