"""Text with expressions in it: `prefix-EXPR(env("NODE"))-suffix`, for the keys attributes and resource.

Source: pkg/stanza/operator/helper/expr_string.go: an expression ends at the last `)` before the next `EXPR(`.
"""

from heliograph.receivers.file_log.operators.entry import Entry, kind
from heliograph.receivers.file_log.operators.expression import Expression, ExpressionError, compile_expression

_START = "EXPR("


class Template:
    """Compiled text. constant: True when there is no expression in it."""

    def __init__(self, text: str) -> None:
        """Raises ExpressionError."""
        self._parts: list[str | Expression] = []
        head, *rest = text.split(_START)
        self._parts.append(head)
        for piece in rest:
            end = piece.rfind(")")
            if end < 0:
                self._parts.append(_START + piece)
                continue
            self._parts.append(compile_expression(piece[:end]))
            self._parts.append(piece[end + 1 :])
        self.constant = all(isinstance(part, str) for part in self._parts)

    def render(self, entry: Entry) -> str:
        """The text for an entry. Raises ExpressionError when an expression gives no text."""
        out: list[str] = []
        for part in self._parts:
            if isinstance(part, str):
                out.append(part)
                continue
            value = part(entry)
            if not isinstance(value, str):
                raise ExpressionError(f"an expression inside text gave {kind(value)}, not a string")
            out.append(value)
        return "".join(out)
