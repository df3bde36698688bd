"""Numbers of a device that the host needs, without waiting for the device each time."""

from collections.abc import Callable, Iterable

from torch import Tensor


class OnHost:
    """Numbers made of tensors that rarely change: read once, and after a change.

    A number that is read in the middle of a scan makes the host wait until the device has done all
    that it was told before, and the device wait for the host.
    """

    def __init__(self) -> None:
        self._seen: list[tuple[Tensor, int]] = []
        self._numbers: tuple[float, ...] = ()

    def read(
        self, tensors: Iterable[Tensor], made: Callable[[], Iterable[Tensor]]
    ) -> tuple[float, ...]:
        """Numbers that are made of some tensors, made anew if these are others or have changed."""
        now = [(tensor, tensor._version) for tensor in tensors]
        same = len(now) == len(self._seen) and all(
            tensor is seen and version == before
            for (tensor, version), (seen, before) in zip(now, self._seen, strict=True)
        )
        if not same:
            self._numbers = tuple(n for t in made() for n in t.detach().flatten().tolist())
            self._seen = now
        return self._numbers
