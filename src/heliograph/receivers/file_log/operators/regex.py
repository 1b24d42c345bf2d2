"""Regular expressions in Go's syntax, where the operators look for them."""

from heliograph.component.regex import RegexError, compile_bytes, compile_text, expand, translate

__all__ = ["RegexError", "compile_bytes", "compile_text", "expand", "translate"]
