"""Whether the hot modules run compiled (see setup.py) or as plain Python."""

from heliograph.otlp import check


def compiled() -> bool:
    """True when otlp.check was loaded from an extension module."""
    return not check.__file__.endswith(".py")
