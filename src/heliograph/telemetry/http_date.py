"""The date as HTTP writes it, without email.utils, which is not small. Source: RFC 9110, 5.6.7."""

import time

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_last = (-1, "")


def http_date(now: float) -> str:
    """The value of Date for a time in seconds since the epoch; made once a second."""
    global _last
    second = int(now)
    if _last[0] != second:
        at = time.gmtime(second)
        day = f"{_DAYS[at.tm_wday]}, {at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04}"
        _last = (second, f"{day} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT")
    return _last[1]
