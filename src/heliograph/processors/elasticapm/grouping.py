"""Keys that group crashes of mobile applications: a hash of the stack trace without what differs in each run.

Java: messages and line numbers are left out. Swift: of the crashed thread, addresses are left out.
Source: internal/enrichments/mobile/groupingkey.go (rules in elastic/apm's mobile specification).
"""

import re

import xxhash

_LINE = re.compile(r".+")
_CAUSE = re.compile(r"((?:Caused\sby:\s[^:]+)|(?:[^\s][^:]+))(:\s.+)?", re.ASCII)
_CALL = re.compile(r"\s+at\s.+(:\d+)\)", re.ASCII)
_CRASHED_THREAD = re.compile(r"\nThread \d+ Crashed:.*\n((?:.+\n)+)\n", re.ASCII)
_FRAME = re.compile(r"\d+\s+[^\s]+\s+([^\s]+\s[^\s]+\s+\+)\s+[^\s]+", re.ASCII)
_SPACE = re.compile(r"\s+", re.ASCII)


def crash_key(language: str, stack_trace: str) -> str:
    """16 hexadecimal digits, or "" when the language or the form of the trace is not known."""
    if language == "java":
        return _hash(_LINE.sub(lambda found: _java_line(found[0]), stack_trace))
    if language == "swift":
        thread = _CRASHED_THREAD.search(stack_trace)
        if thread:
            return _hash(_LINE.sub(lambda found: _swift_line(found[0]), thread[1]))
    return ""


def _java_line(line: str) -> str:
    cause = _CAUSE.fullmatch(line)
    if cause:
        return cause[1]
    call = _CALL.fullmatch(line)
    return line.replace(call[1], "", 1) if call else line


def _swift_line(line: str) -> str:
    frame = _FRAME.fullmatch(line)
    return line.replace(frame[1], "", 1) if frame else line


def _hash(text: str) -> str:
    return f"{xxhash.xxh64_intdigest(_SPACE.sub('', text).encode()):016x}"
