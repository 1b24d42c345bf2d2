"""Quantities are read as Kubernetes writes them."""

import pytest

from heliograph.kubernetes.quantity import quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("1500m", 1.5),
        ("1Ki", 1024.0),
        ("128974848", 128974848.0),
        ("2e3", 2000.0),
        ("1E", 1e18),
        ("1E3", 1000.0),
        ("0.5Gi", 536870912.0),
        ("100n", 1e-7),
        (".5", 0.5),
        ("+3k", 3000.0),
        ("-1", -1.0),
    ],
)
def test_numbers(text: str, value: float) -> None:
    assert quantity(text) == value


@pytest.mark.parametrize(
    "text", ["", "m", "1x", "1KI", "1_0", "NaN", "Infinity", "1e999999999", "1 Gi", "9" * 100, "٣"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        quantity(text)
