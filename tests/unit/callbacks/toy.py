"""A fit without physics: the real loop, real files and real optimisers around a toy detector.

The prediction for a volume is its target plus the distance of the panels from an optimum, so that
losses, gradients and steps can be worked out by hand.
"""

from contextlib import nullcontext
from types import SimpleNamespace

import torch
from torch import nn

from tomopt_tasks.detectors.hits import Lines
from tomopt_tasks.detectors.layer import PanelDetectorLayer
from tomopt_tasks.detectors.panel import SigmoidDetectorPanel
from tomopt_tasks.inference.scatters import ScatterBatch
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.layer import PassiveLayer
from tomopt_tasks.volume.volume import Volume as RealVolume
from tomopt_tasks.wrapper.base import AbsVolumeWrapper


class Panel(nn.Module):
    def __init__(self, x=0.5, z=1.0, span=1.0, smooth=1.0):
        super().__init__()
        self.xy = nn.Parameter(torch.tensor([x, 0.5], dtype=torch.float64))
        self.z = nn.Parameter(torch.tensor([z], dtype=torch.float64))
        self.xy_span = nn.Parameter(torch.full((2,), span, dtype=torch.float64))
        self.register_buffer("_smooth", torch.full((1,), smooth, dtype=torch.float64))

    @property
    def smooth(self):
        return self._smooth

    @smooth.setter
    def smooth(self, value):
        self._smooth = torch.full_like(self._smooth, float(value))

    def get_scaled_xy_span(self):
        return self.xy_span


class Layer(nn.Module):
    type_label = "panel"

    def __init__(self, pos, panels):
        super().__init__()
        self.pos = pos
        self.panels = nn.ModuleList(panels)

    def conform_detector(self):
        """Something that visibly moves the panels, to see when it is called."""
        with torch.no_grad():
            for panel in self.panels:
                panel.xy_span.clamp_(max=0.9)


class Volume(nn.Module):
    budget = None
    passive_size = 0.1
    device = torch.device("cpu")

    def __init__(self, layers=None, n_layers=4):
        super().__init__()
        default = [Layer("above", [Panel(), Panel(x=0.1)]), Layer("below", [Panel(z=0.1)])]
        self.layers = nn.ModuleList(layers or default)
        self.lw = torch.ones(2, dtype=torch.float64)
        self.n_layers = n_layers
        self.target = None
        self.rad_length = None
        self.n_assigned = 0

    def get_detectors(self):
        return list(self.layers)

    def get_passives(self):
        top = 0.2 + 0.1 * self.n_layers
        return [
            SimpleNamespace(lw=self.lw, z=top - 0.1 * k, size=0.1) for k in range(self.n_layers)
        ]

    def get_passive_z_range(self):
        return torch.tensor([0.2]), torch.tensor([0.2 + 0.1 * self.n_layers])

    def load_rad_length(self, layout, target):
        self.rad_length, self.target = layout, target

    def get_rad_cube(self):
        return self.rad_length

    def hold_cost(self, *, on):
        pass

    def holding_costs(self):
        return nullcontext()

    def assign_budget(self):
        self.n_assigned += 1

    def get_cost(self):
        return sum((panel.xy_span**2).sum() for layer in self.layers for panel in layer.panels)


class Inferrer:
    """Target + sum of (xy - 0.4)^2 + z^2 over the panels; None for negative targets."""

    def __init__(self, volume):
        self.volume = volume

    def add_scatters(self, scatters):
        self.scatters = scatters

    def get_prediction(self):
        if float(self.volume.target) < 0:
            return None
        panels = [panel for layer in self.volume.layers for panel in layer.panels]
        distance = sum(((p.xy - 0.4) ** 2).sum() + (p.z**2).sum() for p in panels)
        return self.volume.target + distance.reshape(1)


class Loss:
    """Squared error plus a constant, which plays the cost."""

    def __init__(self, cost=0.0):
        self.cost = cost
        self.cost_coef = None
        self.sub_losses = {}

    def __call__(self, pred, volume):
        error = ((pred - volume.target) ** 2).mean()
        self.sub_losses = {"error": error, "cost": torch.tensor([self.cost])}
        return error + self.cost


class Wrapper(AbsVolumeWrapper):
    """The real wrapper; muons do not fly. Replace ``scan`` to feed scatters to callbacks."""

    def __init__(self, volume=None, *, loss=None, lr=0.01, opt=torch.optim.SGD, **options):
        self.scan = lambda: None
        super().__init__(
            volume or Volume(),
            partial_opts={name: lambda p: opt(p, lr=lr, **options) for name in ("xy", "z")},
            loss_func=loss or Loss(),
            partial_scatter_inferrer=lambda mu, volume: self.scan(),
            partial_volume_inferrer=Inferrer,
            mu_generator=lambda n, rng=None: torch.zeros(n, 5),
        )

    def _build_opt(self, **partial_opts):
        panels = [panel for layer in self.volume.layers for panel in layer.panels]
        for name, build in partial_opts.items():
            self.opts[name] = build([getattr(panel, name) for panel in panels])

    def _muons(self, *_):
        return SimpleNamespace(n_volumes=1)

    def _irradiate(self, *_):
        pass


def passives(*targets):
    """Volumes with these targets; their X0 grid is filled with the target."""
    return [(torch.full((2, 3, 3), float(t)), torch.tensor([float(t)])) for t in targets]


def fit(cbs, tmp_path, *, n_epochs=3, targets=(1.0, 2.0), valid=None, bs=1, wrapper=None):
    """A short fit with the toy; returns its wrapper."""
    wrapper = wrapper or Wrapper()
    val = None if valid is None else passives(*valid)
    wrapper.fit(n_epochs, bs, 10, 5, passives(*targets), val, cbs, tmp_path)
    return wrapper


def parameters(wrapper):
    """Copies of all parameters by name."""
    return {name: p.detach().clone() for name, p in wrapper.volume.named_parameters()}


def real_volume(n_panels=4):
    """Real layers with panels around one passive range, 0.2 to 1.2 m, 1 m wide."""
    lw = torch.ones(2)

    def panels(top):
        return [
            SigmoidDetectorPanel(
                smooth=0.5, res=1e3, eff=0.9, init_xyz=(0.5, 0.5, top - 0.05 * (k + 1)),
                init_xy_span=(2.0, 2.0),
            )
            for k in range(n_panels)
        ]  # fmt: skip

    above = PanelDetectorLayer("above", lw=lw, z=2.0, size=0.8, panels=panels(2.0))
    below = PanelDetectorLayer("below", lw=lw, z=0.2, size=0.2, panels=panels(0.25))
    passive = [PassiveLayer(lw=lw, z=1.2 - 0.2 * k, size=0.2) for k in range(5)]
    return RealVolume(nn.ModuleList([above, *passive, below])).to(torch.float64)


def scatters(volume, n_muons=40, *, n_volumes=1, name="scatters"):
    """A real batch of scatters: straight lines that kink at a random height."""
    rng = stream(1, "tests", name)
    n = n_muons * n_volumes

    def draw(*shape):
        return torch.randn(n, *shape, generator=rng, dtype=torch.float64)

    at = 0.5 + 0.1 * draw(2)
    slope, kick = 0.1 * draw(2), 0.02 * draw(2)
    depth = torch.rand(n, 1, generator=rng, dtype=torch.float64)
    into = Lines(at, slope, 1.2)
    out = Lines(at + depth * slope + (1 - depth) * (slope + kick), slope + kick, 0.2)
    mu = SimpleNamespace(records={}, n_volumes=n_volumes)
    for layer, lines in zip(volume.get_detectors(), (into, out), strict=True):
        noise = draw(len(layer.panels), 2)
        mu.records[layer.pos] = (lines, layer.measure(lines, noise))
    return ScatterBatch(mu, volume)
