"""Quantities of Kubernetes ("500m", "128Mi", "2e3") as numbers.

Source: Kubernetes API reference, "Quantity".
"""

import re
from decimal import ROUND_UP, Decimal
from functools import lru_cache

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15,
    "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50,
    "Ei": Decimal(2) ** 60,
}
_NUMBER = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?)([a-zA-Z]*)")
_LONGEST = 64


def quantity(text: str) -> float:
    """The number a quantity stands for. Raises ValueError."""
    return float(exact(text))


def exact(text: str) -> Decimal:
    """The same without rounding."""
    found = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    factor = None if found is None else _SUFFIXES.get(found[2])
    if found is None or factor is None:
        raise ValueError(f"{text[:_LONGEST]!r} is no quantity, such as 500m or 128Mi")
    return Decimal(found[1]) * factor


@lru_cache(maxsize=4096)
def whole(text: str) -> int:
    """The number, rounded away from zero to a whole one as the Kubernetes API's Value is. Raises ValueError."""
    return int(exact(text).to_integral_value(ROUND_UP))


@lru_cache(maxsize=4096)
def thousandths(text: str) -> int:
    """The number times 1000, rounded in the same way, as the Kubernetes API's MilliValue is. Raises ValueError."""
    return int((exact(text) * 1000).to_integral_value(ROUND_UP))
