"""Expressions over an entry, compiled to closures: the subset of expr-lang that users of file_log write.

Names: `body` (also `$`), `attributes`, `resource`. Literals: numbers, strings, true, false, nil, [lists], {maps}.
Operators, weakest first: `?:`, `??`, `or ||`, `and &&`, `== != < <= > >= in, not in, contains, startsWith, endsWith,
matches`, `+ -`, `* / %`, `** ^`, `not !`, unary `-`; access by `.name`, `?.name`, `["name"]`, `[1]`, `[1:3]`.
Functions: see functions.py. Everything else is refused at start with its column. A mistake at run time (a name of
nil, text compared with a number) raises ExpressionError, as upstream's virtual machine does. No Python is evaluated.
"""

from collections.abc import Callable
from typing import Any

from heliograph.receivers.file_log.operators.entry import Entry, kind
from heliograph.receivers.file_log.operators.functions import (
    FUNCTIONS,
    arithmetic,
    compare,
    contained,
    equal,
    member,
    text_of,
)
from heliograph.receivers.file_log.operators.lexer import ExpressionError, Token, tokens, unquote
from heliograph.receivers.file_log.operators.regex import RegexError, compile_text

__all__ = ["Expression", "ExpressionError", "compile_condition", "compile_expression"]

Expression = Callable[[Entry], Any]

_PRECEDENCE = {
    "??": 5,
    "or": 10,
    "||": 10,
    "and": 15,
    "&&": 15,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in", "contains", "startsWith", "endsWith", "matches"), 20),
    "+": 30,
    "-": 30,
    "*": 60,
    "/": 60,
    "%": 60,
    "**": 100,
    "^": 100,
}
_DEPTH = 50


def compile_expression(text: str) -> Expression:
    """Compile. Raises ExpressionError with the column."""
    return _Parser(text).whole()


def compile_condition(text: str) -> Callable[[Entry], bool]:
    """Compile an expression that must give a boolean; anything else is an ExpressionError at run time."""
    run = compile_expression(text)

    def condition(entry: Entry) -> bool:
        value = run(entry)
        if value is True or value is False:
            return bool(value)
        raise ExpressionError(f"expression {text!r} gave {kind(value)}, not a bool")

    return condition


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._position = 0
        self._depth = 0

    def whole(self) -> Expression:
        run = self._ternary()
        token = self._peek()
        if token.kind != "end":
            raise self._error(token, f"unexpected {token.text!r}")
        return run

    def _peek(self) -> Token:
        return self._tokens[self._position]

    def _next(self) -> Token:
        token = self._tokens[self._position]
        self._position += 1
        return token

    def _accept(self, text: str) -> bool:
        token = self._peek()
        if token.kind in ("operator", "name") and token.text == text:
            self._position += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        token = self._peek()
        if not self._accept(text):
            raise self._error(
                token, f"expected {text!r}, found {token.text!r}" if token.text else f"{text!r} is missing"
            )

    def _error(self, token: Token, problem: str) -> ExpressionError:
        return ExpressionError(f"{problem} at column {token.column} of expression {self._text!r}")

    def _ternary(self) -> Expression:
        self._depth += 1
        if self._depth > _DEPTH:
            raise self._error(self._peek(), "nested too deeply")
        condition = self._binary(0)
        if self._accept("?"):
            yes = self._ternary()
            self._expect(":")
            no = self._ternary()
            condition = _choice(condition, yes, no)
        self._depth -= 1
        return condition

    def _binary(self, lowest: int) -> Expression:
        left = self._unary()
        while True:
            token = self._peek()
            negated = False
            operator = token.text
            if token.kind == "name" and operator == "not":
                following = self._tokens[self._position + 1]
                if following.text not in ("in", "contains", "startsWith", "endsWith", "matches"):
                    raise self._error(token, "unexpected 'not'")
                negated, operator = True, following.text
            precedence = _PRECEDENCE.get(operator) if token.kind in ("operator", "name") else None
            if precedence is None or precedence < lowest:
                if token.text in ("|", ".."):
                    raise self._error(token, f"operator {token.text!r} is not supported")
                return left
            self._position += 2 if negated else 1
            right_token = self._peek()
            right = self._binary(precedence if operator in ("**", "^") else precedence + 1)
            left = self._combine(operator, left, right, right_token)
            if negated:
                left = _negate(left)

    def _combine(self, operator: str, left: Expression, right: Expression, token: Token) -> Expression:
        if operator in ("and", "&&"):
            return lambda entry: _boolean(left(entry)) and _boolean(right(entry))
        if operator in ("or", "||"):
            return lambda entry: _boolean(left(entry)) or _boolean(right(entry))
        if operator == "??":
            return lambda entry: value if (value := left(entry)) is not None else right(entry)
        if operator == "==":
            return lambda entry: equal(left(entry), right(entry))
        if operator == "!=":
            return lambda entry: not equal(left(entry), right(entry))
        if operator == "in":
            return lambda entry: contained(left(entry), right(entry))
        if operator == "contains":
            return lambda entry: text_of(right(entry), operator) in text_of(left(entry), operator)
        if operator == "startsWith":
            return lambda entry: text_of(left(entry), operator).startswith(text_of(right(entry), operator))
        if operator == "endsWith":
            return lambda entry: text_of(left(entry), operator).endswith(text_of(right(entry), operator))
        if operator == "matches":
            if token.kind != "string" or self._tokens[self._position - 1] is not token:
                raise self._error(token, "the right side of matches must be a string")
            try:
                search = compile_text(unquote(token)).search
            except RegexError as error:
                raise self._error(token, str(error)) from None
            return lambda entry: search(text_of(left(entry), operator)) is not None
        if operator in ("<", "<=", ">", ">="):
            return lambda entry: compare(operator, left(entry), right(entry))
        return lambda entry: arithmetic(operator, left(entry), right(entry))

    def _unary(self) -> Expression:
        if self._accept("!"):
            return _negate(self._unary())
        if self._accept("not"):
            return _negate(self._binary(50))
        if self._accept("-"):
            operand = self._binary(90)
            return lambda entry: arithmetic("-", 0, operand(entry))
        if self._accept("+"):
            return self._binary(90)
        return self._postfix(self._primary())

    def _postfix(self, value: Expression) -> Expression:
        while True:
            token = self._peek()
            if token.kind != "operator":
                return value
            if self._accept(".") or self._accept("?."):
                name = self._next()
                if name.kind != "name":
                    raise self._error(name, "a name must follow the dot")
                if self._peek().text == "(":
                    raise self._error(name, f"method {name.text!r} is not supported")
                value = _member(value, _constant(name.text), optional=token.text == "?.")
            elif self._accept("["):
                value = self._index(value)
            else:
                return value

    def _index(self, value: Expression) -> Expression:
        first = None if self._peek().text == ":" else self._ternary()
        if self._accept(":"):
            last = None if self._peek().text == "]" else self._ternary()
            self._expect("]")
            return _slice(value, first, last)
        self._expect("]")
        assert first is not None
        return _member(value, first, optional=False)

    def _primary(self) -> Expression:
        token = self._next()
        if token.kind == "number":
            text = token.text.replace("_", "")
            return _constant(int(text) if text.isdigit() else float(text))
        if token.kind == "string":
            return _constant(unquote(token))
        if token.kind == "name":
            return self._name(token)
        if token.text == "(":
            inner = self._ternary()
            self._expect(")")
            return inner
        if token.text == "[":
            items = self._list("]")
            return lambda entry: [item(entry) for item in items]
        if token.text == "{":
            return self._map()
        raise self._error(token, f"unexpected {token.text!r}" if token.text else "the expression ends too early")

    def _name(self, token: Token) -> Expression:
        name = token.text
        if name in ("true", "false"):
            return _constant(name == "true")
        if name == "nil":
            return _constant(None)
        if name in ("body", "$"):
            return lambda entry: entry.body
        if name == "attributes":
            return lambda entry: entry.attributes
        if name == "resource":
            return lambda entry: entry.resource
        if self._accept("("):
            function = FUNCTIONS.get(name)
            if function is None:
                raise self._error(token, f"function {name!r} is not supported")
            least, most, call = function
            arguments = self._list(")")
            if not least <= len(arguments) <= most:
                raise self._error(token, f"function {name!r} takes {least} to {most} arguments, not {len(arguments)}")
            return lambda entry: call(*[argument(entry) for argument in arguments])
        raise self._error(token, f"unknown name {name!r} (there are body, attributes, resource)")

    def _list(self, end: str) -> list[Expression]:
        items: list[Expression] = []
        while not self._accept(end):
            items.append(self._ternary())
            if not self._accept(","):
                self._expect(end)
                break
        return items

    def _map(self) -> Expression:
        items: list[tuple[str, Expression]] = []
        while not self._accept("}"):
            token = self._next()
            if token.kind not in ("name", "string"):
                raise self._error(token, "a key of a map must be a name or a string")
            key = unquote(token) if token.kind == "string" else token.text
            self._expect(":")
            items.append((key, self._ternary()))
            if not self._accept(","):
                self._expect("}")
                break
        return lambda entry: {key: value(entry) for key, value in items}


def _constant(value: Any) -> Expression:
    return lambda entry: value


def _boolean(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise ExpressionError(f"a bool is needed, found {kind(value)}")


def _negate(value: Expression) -> Expression:
    return lambda entry: not _boolean(value(entry))


def _choice(condition: Expression, yes: Expression, no: Expression) -> Expression:
    return lambda entry: yes(entry) if _boolean(condition(entry)) else no(entry)


def _member(value: Expression, name: Expression, *, optional: bool) -> Expression:
    def fetch(entry: Entry) -> Any:
        place = value(entry)
        if place is None and optional:
            return None
        return member(place, name(entry))

    return fetch


def _slice(value: Expression, first: Expression | None, last: Expression | None) -> Expression:
    def cut(entry: Entry) -> Any:
        whole = value(entry)
        if not isinstance(whole, str | list):
            raise ExpressionError(f"cannot slice {kind(whole)}")
        low = None if first is None else first(entry)
        high = None if last is None else last(entry)
        try:
            return whole[low:high]
        except TypeError:
            raise ExpressionError("the ends of a slice must be integers") from None

    return cut
