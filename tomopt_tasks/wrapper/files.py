"""Files with the state of a volume and its optimisers: tensors and plain numbers, never code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def restore_optimiser(opt: Optimizer, state: Mapping[str, Any]) -> None:
    """Take up the state of an optimiser bit by bit.

    ``load_state_dict`` alone turns every tensor into the type of its parameter, so that NAdam and
    ASGD, which keep numbers in single precision beside parameters in double, would go on otherwise.
    """
    opt.load_state_dict(dict(state))
    parameters = [parameter for group in opt.param_groups for parameter in group["params"]]
    for index, saved in state["state"].items():
        own = opt.state[parameters[index]]
        for name, value in saved.items():
            if isinstance(value, Tensor) and own[name].dtype != value.dtype:
                own[name] = value.detach().clone().to(own[name].device)


def save_states(path: Path, volume: nn.Module, opts: Mapping[str, Optimizer]) -> None:
    """Write the states under the keys ``volume`` and the names of the optimisers."""
    states = {"volume": volume.state_dict(), **{n: opt.state_dict() for n, opt in opts.items()}}
    partial = path.with_name(f".{path.name}.partial")
    torch.save(states, partial)
    partial.replace(path)


def load_states(
    path: Path, volume: nn.Module, opts: Mapping[str, Optimizer], device: torch.device | str
) -> None:
    """Read states back into a volume and its optimisers, all or nothing.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file names other optimisers than there are, or belongs to another detector;
            nothing has been changed then.
    """
    states = torch.load(path, map_location=device, weights_only=True)
    expected, found = {"volume", *opts}, set(states)
    if expected != found:
        raise ValueError(
            f"{path.name} holds {sorted(found)}, but this wrapper has {sorted(expected)}; build "
            "the wrapper with the optimisers that the file was saved with"
        )
    _check_volume(path.name, volume.state_dict(), states["volume"])
    for name, opt in opts.items():
        _check_optimiser(path.name, name, opt, states[name])
    volume.load_state_dict(states["volume"])
    for name, opt in opts.items():
        restore_optimiser(opt, states[name])


def _check_volume(file: str, own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Raise if names or shapes differ: torch would load the others before it says so."""
    shapes = [{name: tuple(value.shape) for name, value in each.items()} for each in (own, saved)]
    wrong = sorted({name for name, _ in shapes[0].items() ^ shapes[1].items()})
    if wrong:
        raise ValueError(
            f"{file} holds another detector: {', '.join(wrong[:3])}{' ...' * (len(wrong) > 3)} "
            "differ from this volume; build the layers and panels that the file was saved with"
        )


def _check_optimiser(file: str, name: str, opt: Optimizer, saved: Mapping[str, Any]) -> None:
    groups = opt.param_groups, saved["param_groups"]
    own, found = ([len(group["params"]) for group in each] for each in groups)
    if own != found:
        raise ValueError(
            f"{file}: the optimiser {name!r} moved {found} tensors in its groups, here it moves "
            f"{own}; build it with the parameters that the file was saved with"
        )
