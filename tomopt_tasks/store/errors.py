"""What can go wrong with a store; each is one sentence that a user can act upon."""

from tomopt_tasks.core import UserError


class StoreUnavailable(UserError):  # noqa: N818
    """The folder or bucket cannot be read or written; nothing half-written is visible."""


class NewerFormat(UserError):  # noqa: N818
    """Written by a newer major version of this package; left untouched."""


class DamagedObject(UserError):  # noqa: N818
    """A committed object is not what was committed."""


class KeyCollision(UserError):  # noqa: N818
    """Two different contents claim the same key; the first one stays.

    Attributes:
        kind: kind of the object.
        key: the key that both claim.
        kept: content digest of the object that stays.
        offered: content digest of the one that was refused.
    """

    def __init__(self, kind: str, key: str, kept: str, offered: str) -> None:
        super().__init__(
            f"{kind} {key[:12]} is already in the store with other content (stored "
            f"{kept[:12]}, offered {offered[:12]}); equal keys must give equal bytes: look for "
            "something that is missing from the key (threads, hardware, time), or delete the "
            "stored object to accept the new one"
        )
        self.kind = kind
        self.key = key
        self.kept = kept
        self.offered = offered


class Damage(ValueError):  # noqa: N818
    """Internal: why some bytes are not a valid object. Never reaches a user as it is."""
