"""Optimisers that a phase can name by ``kind``.

Those of torch that step by the gradient of a few numbers. Left out: LBFGS (wants the loss several
times an update), Muon (for matrices), SparseAdam (for sparse gradients), Adafactor (its steps grow
with the value of a parameter, which for a position depends on where the origin is).
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tomopt_tasks.core import Config
from tomopt_tasks.quantities import Count, Flag, Memory, PositiveLength, PositiveNumber, Unit

RateIs = Literal["per gradient", "step", "factor"]
"""What a learning rate is: step per gradient, about the step itself, or a factor on a step that the
optimiser finds. A search of rates sets the first from the gradient and the second to the wanted
step; the third it leaves alone."""

Decay = Annotated[float, Field(ge=0), Unit("1")]


class _ByGradient(Config):
    rate_is: ClassVar[RateIs] = "per gradient"

    rate: PositiveNumber | None = None
    """Learning rate [unit of the parameter squared per unit of loss]; > 0; null: from
    ``find_rates``."""


class _ByStep(Config):
    rate_is: ClassVar[RateIs] = "step"

    rate: PositiveNumber | None = None
    """Learning rate, about the largest step [unit of the parameter]; > 0; null: from
    ``find_rates``, which takes the wanted step itself."""


class _Moments(_ByStep):
    momentum: Memory = 0.9
    """beta_1, memory of the gradient; 0 to 1, 1 excluded."""
    beta2: Memory = 0.999
    """beta_2, memory of its size; 0 to 1, 1 excluded."""
    eps: PositiveNumber = 1.0e-8
    """Size of a gradient below which steps shrink [unit of loss per unit of the parameter]; > 0."""


class SGDSettings(_ByGradient):
    """Stochastic gradient descent."""

    kind: Literal["sgd"] = "sgd"
    """Name of this optimiser."""
    momentum: Memory = 0.0
    """Momentum; 0 to 1, 1 excluded."""
    nesterov: Flag = False
    """Look ahead along the momentum, which must then be > 0."""

    @model_validator(mode="after")
    def _check_nesterov(self) -> Self:
        if self.nesterov and not self.momentum:
            text = "got true with momentum 0; give a momentum > 0, or leave it out"
            raise PydanticCustomError("nesterov", text, {"path": ("nesterov",)})
        return self


class ASGDSettings(_ByGradient):
    """Averaged gradient descent: a phase ends with the mean over its updates, not with the last."""

    kind: Literal["asgd"] = "asgd"
    """Name of this optimiser."""
    decay: Decay = 0.0
    """The n-th step is smaller by (1 + decay rate n)^power, and takes rate decay value off the
    parameter; >= 0; not for positions: it pulls towards 0."""
    power: Annotated[float, Field(ge=0), Unit("1")] = 0.75
    """See ``decay``; >= 0."""
    average_after: Count = 1
    """Updates that the mean leaves out; >= 1."""


class AdamSettings(_Moments):
    """Adam."""

    kind: Literal["adam"] = "adam"
    """Name of this optimiser."""
    amsgrad: Flag = False
    """Divide by the largest size of the gradient so far, not by the present one."""


class AdamWSettings(_Moments):
    """Adam with a weight decay apart from the gradient."""

    kind: Literal["adamw"] = "adamw"
    """Name of this optimiser."""
    amsgrad: Flag = False
    """Divide by the largest size of the gradient so far, not by the present one."""
    decay: Decay = 0.0
    """Each update takes rate decay value off the parameter; >= 0; not for positions: it pulls
    towards 0."""


class AdamaxSettings(_Moments):
    """Adam with the largest gradient of late in the place of the mean square."""

    kind: Literal["adamax"] = "adamax"
    """Name of this optimiser."""


class NAdamSettings(_Moments):
    """Adam that looks ahead along its momentum."""

    kind: Literal["nadam"] = "nadam"
    """Name of this optimiser."""
    momentum_decay: Annotated[float, Field(ge=0), Unit("1")] = 4.0e-3
    """How fast the momentum reaches its full value; >= 0."""


class RAdamSettings(_Moments):
    """Adam that takes plain momentum steps of rate times gradient in its first five updates.

    A limit on updates holds them.
    """

    kind: Literal["radam"] = "radam"
    """Name of this optimiser."""


class RMSpropSettings(_ByStep):
    """Gradient over the root of its mean square; the first steps are larger by 1 / sqrt(1 - beta2).

    A limit on updates holds them.
    """

    kind: Literal["rmsprop"] = "rmsprop"
    """Name of this optimiser."""
    momentum: Memory = 0.0
    """Momentum; 0 to 1, 1 excluded."""
    beta2: Memory = 0.99
    """Memory of the size of the gradient; 0 to 1, 1 excluded."""
    eps: PositiveNumber = 1.0e-8
    """Size of a gradient below which steps shrink [unit of loss per unit of the parameter]; > 0."""
    centred: Flag = False
    """Divide by the spread of the gradient, its mean taken off."""


class AdagradSettings(_ByStep):
    """Gradient over the root of the sum of all squares so far: steps that shrink."""

    kind: Literal["adagrad"] = "adagrad"
    """Name of this optimiser."""
    rate_decay: Annotated[float, Field(ge=0), Unit("1")] = 0.0
    """The n-th step is smaller by 1 + rate_decay (n - 1), too; >= 0."""
    eps: PositiveNumber = 1.0e-10
    """Size of a gradient below which steps shrink [unit of loss per unit of the parameter]; > 0."""


class AdadeltaSettings(Config):
    """Steps of the size of the steps before; from nearly nothing upwards."""

    rate_is: ClassVar[RateIs] = "factor"

    kind: Literal["adadelta"] = "adadelta"
    """Name of this optimiser."""
    rate: PositiveNumber = 1.0
    """Factor on the steps; > 0; ``find_rates`` leaves it alone."""
    rho: Memory = 0.9
    """Memory of the size of gradients and steps; 0 to 1, 1 excluded."""
    eps: PositiveNumber = 1.0e-6
    """Square of the size of the first steps [unit of the parameter squared]; > 0."""


class RpropSettings(_ByStep):
    """Steps by the sign of the gradient only, longer while it stays and shorter when it turns.

    For updates that see all volumes; the rate is the first step, so that schedules do nothing.
    """

    kind: Literal["rprop"] = "rprop"
    """Name of this optimiser."""
    shrink: Annotated[float, Field(gt=0, lt=1), Unit("1")] = 0.5
    """Factor on a step after the sign has turned; > 0, < 1."""
    grow: Annotated[float, Field(gt=1), Unit("1")] = 1.2
    """Factor on a step after the sign has stayed; > 1."""
    smallest: PositiveLength = 1.0e-6
    """Smallest step [m; of budget weights 1]; > 0."""
    largest: PositiveLength = 0.1
    """Largest step [m; of budget weights 1]; > 0, above ``smallest``."""

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        if self.largest <= self.smallest:
            text = "got {largest}, which is not above smallest ({smallest}); raise it"
            values = {"path": ("largest",), "largest": self.largest, "smallest": self.smallest}
            raise PydanticCustomError("steps", text, values)
        return self


_Any = (
    SGDSettings
    | ASGDSettings
    | AdamSettings
    | AdamWSettings
    | AdamaxSettings
    | NAdamSettings
    | RAdamSettings
    | RMSpropSettings
    | AdagradSettings
    | AdadeltaSettings
    | RpropSettings
)
OptimiserSettings = Annotated[_Any, Field(discriminator="kind")]
"""Any optimiser."""

OPTIMISERS: Mapping[str, type[Config]] = {
    part.model_fields["kind"].default: part for part in get_args(_Any)
}
"""Kind -> settings, of every optimiser."""
