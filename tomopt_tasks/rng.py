"""Named random streams: equal names, equal numbers, in any order and in any process."""

import hashlib

import torch


def stream(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that depends on ``seed`` and ``names`` only.

    Args:
        seed: the seed of a study.
        names: purpose of the numbers, then epoch, volume or block.
        device: where the numbers are drawn; CPU and CUDA agree statistically, not bit by bit.
    """
    text = "\x1f".join(str(part) for part in (seed, *names))
    digest = hashlib.sha256(text.encode()).digest()
    generator = torch.Generator(device=device)
    generator.manual_seed(int.from_bytes(digest[:8], "little", signed=True))
    return generator
