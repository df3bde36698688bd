"""What a command says, and sizes and times in words."""

import time
from datetime import UTC, datetime

from tomopt_tasks.reports.text import Answer, json_text

__all__ = ["Answer", "age", "clock", "duration", "json_text", "since", "size"]


def size(nbytes: float) -> str:
    """Bytes in words: 17.2 kB."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    return f"{nbytes:.3g} TB"


def duration(seconds: float) -> str:
    """Seconds in words: 12 s, 3:05 min, 2:10 h."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"


def clock(at: str) -> str:
    """A time of a manifest (ISO, UTC) as people read it here."""
    try:
        then = datetime.fromisoformat(at)
    except ValueError:
        return at
    return then.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def age(modified: float) -> str:
    """How long ago something was written."""
    return f"{duration(max(0.0, time.time() - modified))} ago"


def since(at: str) -> float:
    """Seconds since a time of a manifest."""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())
    except ValueError:
        return 0.0
