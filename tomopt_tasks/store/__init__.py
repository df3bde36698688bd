"""Committed results: small records, large datasets and run manifests, in a folder or in S3.

Nothing is ever changed in place: an object appears whole under its key or not at all, and a second
writer of the same key must bring the same bytes. Opening and finding import neither torch nor zarr.
"""

from tomopt_tasks.core import lazy_exports

__all__ = [
    "ArraySpec",
    "DamagedObject",
    "Dataset",
    "KeyCollision",
    "NewerFormat",
    "Ref",
    "Store",
    "StoreUnavailable",
    "open_store",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "ArraySpec": "tomopt_tasks.store.arrays",
        "DamagedObject": "tomopt_tasks.store.errors",
        "Dataset": "tomopt_tasks.store.datasets",
        "KeyCollision": "tomopt_tasks.store.errors",
        "NewerFormat": "tomopt_tasks.store.errors",
        "Ref": "tomopt_tasks.store.refs",
        "Store": "tomopt_tasks.store.store",
        "StoreUnavailable": "tomopt_tasks.store.errors",
        "open_store": "tomopt_tasks.store.opening",
    },
)
