"""Keys of stages, and the digest of the code that a stage runs; without torch and Prefect."""

from tomopt_tasks.core import lazy_exports

__all__ = [
    "Numerics",
    "Sources",
    "canonical_json",
    "code_digest",
    "code_parts",
    "components",
    "digest",
    "numerics",
    "stage_key",
]

_KEYS = "tomopt_tasks.caching.keys"
_CLOSURE = "tomopt_tasks.caching.closure"

__getattr__ = lazy_exports(
    __name__,
    {
        "Numerics": _KEYS,
        "Sources": _CLOSURE,
        "canonical_json": _KEYS,
        "code_digest": _CLOSURE,
        "code_parts": _CLOSURE,
        "components": _KEYS,
        "digest": _KEYS,
        "numerics": _KEYS,
        "stage_key": _KEYS,
    },
)
