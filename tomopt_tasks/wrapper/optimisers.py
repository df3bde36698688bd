"""Optimisers of torch from their settings."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, optim
from torch.nn import Module, Parameter
from torch.optim import Optimizer

from tomopt_tasks.wrapper.optimiser_settings import OptimiserSettings


def _moments(found: Any) -> dict[str, Any]:
    return {"betas": (found.momentum, found.beta2), "eps": found.eps}


MAKERS: Mapping[str, Callable[[Any], tuple[Callable[..., Optimizer], dict[str, Any]]]] = {
    "sgd": lambda s: (optim.SGD, {"momentum": s.momentum, "nesterov": s.nesterov}),
    "asgd": lambda s: (
        optim.ASGD,
        {"lambd": s.decay, "alpha": s.power, "t0": float(s.average_after - 1)},
    ),
    "adam": lambda s: (optim.Adam, {**_moments(s), "amsgrad": s.amsgrad}),
    "adamw": lambda s: (
        optim.AdamW,
        {**_moments(s), "amsgrad": s.amsgrad, "weight_decay": s.decay},
    ),
    "adamax": lambda s: (optim.Adamax, _moments(s)),
    "nadam": lambda s: (optim.NAdam, {**_moments(s), "momentum_decay": s.momentum_decay}),
    "radam": lambda s: (optim.RAdam, _moments(s)),
    "rmsprop": lambda s: (
        optim.RMSprop,
        {"momentum": s.momentum, "alpha": s.beta2, "eps": s.eps, "centered": s.centred},
    ),
    "adagrad": lambda s: (optim.Adagrad, {"lr_decay": s.rate_decay, "eps": s.eps}),
    "adadelta": lambda s: (optim.Adadelta, {"rho": s.rho, "eps": s.eps}),
    "rprop": lambda s: (
        optim.Rprop,
        {"etas": (s.shrink, s.grow), "step_sizes": (s.smallest, s.largest)},
    ),
}
"""Kind -> class and arguments."""


def build_optimiser(
    settings: OptimiserSettings, parameters: Iterable[Parameter], rate: float
) -> Optimizer:
    """The optimiser.

    Args:
        settings: which, with its numbers.
        parameters: what it moves.
        rate: learning rate; > 0.
    """
    made, arguments = MAKERS[settings.kind](settings)
    return made(parameters, lr=rate, **arguments)


def averages(volume: Module, opts: Mapping[str, Optimizer]) -> dict[str, Tensor]:
    """Means over the updates, of parameters whose optimiser keeps one; by name."""
    names = {id(parameter): name for name, parameter in volume.named_parameters()}
    return {
        names[id(parameter)]: state["ax"].detach().clone()
        for opt in opts.values()
        for parameter, state in opt.state.items()
        if "ax" in state and id(parameter) in names
    }
