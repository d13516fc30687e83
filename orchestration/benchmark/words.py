"""How figures are written for people: three digits that count, thousands apart."""

from __future__ import annotations

from orchestration.benchmark.report import Cell, Column


def cell(value: Cell) -> str:
    match value:
        case None:
            return "-"
        case float():
            return number(value)
        case int():
            return f"{value:,}"
    return value


def number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def heading(column: Column) -> str:
    return f"{column.name}, {column.unit}" if column.unit else column.name
