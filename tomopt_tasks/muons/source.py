"""Muons on their way to the passive volume, drawn from one stream per volume."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import pi

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from tomopt_tasks.core import UserError
from tomopt_tasks.kernels import constants, kernel
from tomopt_tasks.muons.aim import crosses_box
from tomopt_tasks.muons.plane import Box, Plane, resolve_plane
from tomopt_tasks.muons.settings import (
    FluxSettings,
    MuonResamplerSettings,
    MuonSettings,
    OwnFluxSettings,
    TableSettings,
)
from tomopt_tasks.muons.spectrum import Spectrum, sample_momentum, sample_tan_zenith, tabulate

DRAW = 4096
"""Muons drawn at a time from a stream: a constant of the results, not a tuning knob."""


@dataclass(frozen=True, slots=True)
class IncidentMuons:
    """Muons of several volumes in straight flight, on one horizontal plane."""

    x: Float[Tensor, "vol mu"]
    """[m]"""
    y: Float[Tensor, "vol mu"]
    """[m]"""
    tan_x: Float[Tensor, "vol mu"]
    """dx per unit of depth."""
    tan_y: Float[Tensor, "vol mu"]
    """dy per unit of depth."""
    momentum: Float[Tensor, "vol mu"]
    """[GeV]"""
    generated: Int[Tensor, " vol"]
    """Muons started on the generation plane to find these, the last one included."""

    @property
    def above(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x, y [m], tan_x and tan_y."""
        return self.x, self.y, self.tan_x, self.tan_y


def draw_muons(
    source: FluxSettings, plane: Plane, u: Float[Tensor, "row ..."]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See ``draw_from``; the spectrum is that of the source."""
    return draw_from(tabulate(source), source.momentum, plane, u)


def draw_from(
    spectrum: Spectrum, momentum: float | None, plane: Plane, u: Float[Tensor, "row ..."]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x, y, tan_x, tan_y and p from uniform numbers: zenith, azimuth, x, y and, if free, energy.

    Args:
        spectrum: tables of energy and zenith.
        momentum: of every muon [GeV]; None: from the spectrum.
        plane: where the muons start.
        u: four rows of numbers in [0, 1), five without a fixed momentum.
    """
    return *_lines(spectrum, plane, u), _momentum(momentum, spectrum, u)


def _lines(
    spectrum: Spectrum, plane: Plane, u: Float[Tensor, "row ..."]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, y, tan_x and tan_y of ``draw_from``."""
    return _lines_on(constants((*plane.low, *plane.high), u), spectrum.tan2.to(u), u)


def _lines_on(
    corners: Float[Tensor, " corner"], tan2: Float[Tensor, " knot"], u: Float[Tensor, "row ..."]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same on a plane from its low to its high corner."""
    tan = sample_tan_zenith(tan2, u[0])
    azimuth = u[1] * (2.0 * pi)
    low_x, low_y, high_x, high_y = corners.unbind()
    x = u[2] * (high_x - low_x) + low_x
    y = u[3] * (high_y - low_y) + low_y
    return x, y, tan * azimuth.cos(), tan * azimuth.sin()


@kernel
def _aimed(
    u: Float[Tensor, "vol row mu"],
    corners: Float[Tensor, " corner"],
    tan2: Float[Tensor, " knot"],
    box: Float[Tensor, " face"],
) -> tuple[
    Float[Tensor, "vol mu"],
    Float[Tensor, "vol mu"],
    Float[Tensor, "vol mu"],
    Float[Tensor, "vol mu"],
    Bool[Tensor, "vol mu"],
]:
    """Lines, and which cross a box: depths of its top and bottom, and its extent in x and y."""
    x, y, tan_x, tan_y = _lines_on(corners, tan2, u.transpose(0, 1))
    top, bottom, size_x, size_y = box.unbind()
    hit = crosses_box(x, y, (tan_x, tan_y), (top, bottom), (size_x, size_y))
    return x, y, tan_x, tan_y, hit


def n_uniforms(source: FluxSettings | OwnFluxSettings) -> int:
    """Uniform numbers that one muon takes."""
    return 4 if source.momentum is not None else 5


def flux_rate(source: FluxSettings) -> float:
    """Muons through a horizontal plane in the ranges of the source [Hz/m2]."""
    return tabulate(source).rate


def generation_rate(settings: MuonSettings, world: Box) -> float:
    """Muons through the generation plane, or rows of a table [Hz]; generated over this: seconds."""
    if isinstance(settings.source, TableSettings):
        return settings.source.rate
    return flux_rate(settings.source) * resolve_plane(settings.plane, world).area


def incident_muons(
    settings: MuonSettings, world: Box, streams: Sequence[Generator], n_muons: int
) -> IncidentMuons:
    """Muons at the top of the passive volume, whose straight flights cross it (if aimed).

    Volumes are independent: each takes whole draws from its own stream, so that neither the
    number of volumes nor their order matters.

    Args:
        settings: source, plane and whether to aim.
        world: the passive box.
        streams: one a volume, at least one; advanced. They say where the muons live.
        n_muons: muons wanted in each volume.

    Raises:
        UserError: too few muons cross the passive volume, or the source is a table.
    """
    draws = _Draws.of(settings, world, streams[0].device)
    found = torch.zeros(5, len(streams) * n_muons, dtype=torch.float64, device=streams[0].device)
    found[4] = draws.source.momentum or 0.0
    count = torch.zeros(len(streams), dtype=torch.int64, device=found.device)
    generated = torch.zeros_like(count)
    unfinished = torch.arange(len(streams), device=found.device)
    for _ in range(draws.most(n_muons)):
        u, lines, hit = draws.draw([streams[i] for i in unfinished.tolist()])
        rank = count[unfinished, None] + hit.cumsum(1)
        keep = (hit & (rank <= n_muons)).flatten().nonzero().squeeze(1)
        place = (unfinished[:, None] * n_muons + rank - 1).flatten()[keep]
        for column, values in zip(found, draws.columns(u, lines, keep), strict=False):
            column.index_copy_(0, place, values)
        generated[unfinished] += _generated(rank, n_muons)
        count[unfinished] = rank[:, -1].clamp(max=n_muons)
        unfinished = unfinished[rank[:, -1] < n_muons]
        if len(unfinished) == 0:
            return _at_top(found.view(5, len(streams), n_muons), draws.drop, generated)
    raise UserError(_too_few(int(generated.max()), int(count.min()), n_muons))


def incident_stretches(
    settings: MuonSettings, world: Box, rng: Generator, n_muons: int, size: int
) -> Iterator[IncidentMuons]:
    """The same of one volume, some muons at a time; ``generated`` belongs to those.

    Args:
        settings: source, plane and whether to aim.
        world: the passive box.
        rng: stream of the volume; advanced.
        n_muons: muons wanted.
        size: muons at a time; the last ones may be fewer.

    Raises:
        UserError: as in :func:`incident_muons`; some muons may have come before.
    """
    draws = _Draws.of(settings, world, rng.device)
    rest = torch.zeros(5, 0, dtype=torch.float64, device=rng.device)
    generated = torch.zeros(1, dtype=torch.int64, device=rng.device)
    count, total, n_given = 0, generated.clone(), 0
    for _ in range(draws.most(n_muons)):
        u, lines, hit = draws.draw([rng])
        rank = count + hit.cumsum(1)
        keep = (hit & (rank <= n_muons)).flatten().nonzero().squeeze(1)
        new = rest.new_full((5, len(keep)), draws.source.momentum or 0.0)
        for column, values in zip(new, draws.columns(u, lines, keep), strict=False):
            column.copy_(values)
        rest, count = torch.cat([rest, new], 1), count + len(keep)
        generated = generated + _generated(rank, n_muons)
        while rest.shape[1] >= min(size, n_muons - n_given):
            some, rest = rest[:, :size], rest[:, size:]
            yield _at_top(some[:, None], draws.drop, generated)
            n_given, total = n_given + some.shape[1], total + generated
            generated = torch.zeros_like(generated)
            if n_given == n_muons:
                return
    raise UserError(_too_few(int(total + generated), count, n_muons))


@dataclass(frozen=True, slots=True)
class _Draws:
    """What draws muons, ``DRAW`` of each stream at a time, and looks which of them count."""

    source: FluxSettings | OwnFluxSettings
    spectrum: Spectrum
    tan2: Float[Tensor, " knot"]
    drop: float
    """From the plane down to the top of the passive volume [m]."""
    corners: Float[Tensor, " corner"]
    box: Float[Tensor, " face"]
    tries: int | None
    """Times as many muons as are wanted that may be drawn; None: each muon counts."""

    @classmethod
    def of(cls, settings: MuonSettings, world: Box, device: torch.device) -> "_Draws":
        """For a source, if it is not a table."""
        source, aim = settings.source, settings.aim
        if isinstance(source, TableSettings):
            raise UserError("muons.source: a table is read, not drawn from; use table_muons")
        plane, spectrum = resolve_plane(settings.plane, world), tabulate(source)
        drop, depth = plane.z - world.passive[1], plane.z - world.passive[0]
        like = torch.zeros(0, dtype=torch.float64, device=device)
        corners = constants((*plane.low, *plane.high), like)
        box = constants((drop, depth, *world.size), like)
        tries = aim.max_tries if isinstance(aim, MuonResamplerSettings) else None
        return cls(source, spectrum, spectrum.tan2.to(like), drop, corners, box, tries)

    def most(self, n_muons: int) -> int:
        """How often to draw, at most."""
        return (self.tries or 1) * n_muons // DRAW + 16

    def draw(
        self, streams: Sequence[Generator]
    ) -> tuple[Tensor, Sequence[Tensor], Bool[Tensor, "vol draw"]]:
        """Uniform numbers, the lines made of them, and which count."""
        u = _uniforms(streams, n_uniforms(self.source))
        *lines, hit = _aimed(u, self.corners, self.tan2, self.box)
        return u, lines, torch.ones_like(hit) if self.tries is None else hit

    def columns(self, u: Tensor, lines: Sequence[Tensor], keep: Int[Tensor, " n"]) -> list[Tensor]:
        """x, y, tan_x and tan_y of some muons of a draw, and p if it is not fixed."""
        kept = [values.flatten().index_select(0, keep) for values in lines]
        if self.source.momentum is None:
            zenith, energy = (u[:, row].flatten().index_select(0, keep) for row in (0, 4))
            kept.append(sample_momentum(self.spectrum, zenith, energy))
        return kept


def _generated(rank: Int[Tensor, "vol draw"], n_muons: int) -> Int[Tensor, " vol"]:
    """How many muons of a draw it took until there were enough; ranks count those that count."""
    return ((rank < n_muons).sum(1) + 1).clamp(max=DRAW)


def _at_top(
    found: Float[Tensor, "5 vol mu"], drop: float, generated: Int[Tensor, " vol"]
) -> IncidentMuons:
    position = found[:2] + drop * found[2:4]
    return IncidentMuons(position[0], position[1], found[2], found[3], found[4], generated)


def _uniforms(streams: Sequence[Generator], n_rows: int) -> Float[Tensor, "vol row draw"]:
    """One draw of each stream."""
    u = torch.empty(len(streams), n_rows, DRAW, dtype=torch.float64, device=streams[0].device)
    for row, generator in zip(u, streams, strict=True):
        row.uniform_(generator=generator)
    return u


def _momentum(
    fixed: float | None, spectrum: Spectrum, u: Float[Tensor, "row ..."]
) -> Float[Tensor, "..."]:
    if fixed is not None:
        return torch.full_like(u[0], fixed)
    return sample_momentum(spectrum, u[0], u[4])


def _too_few(generated: int, found: int, wanted: int) -> str:
    return (
        f"muons: only {found} of {wanted} muons crossed the passive volume after {generated} were "
        "generated; choose a smaller muons.plane.margin, a lower muons.plane.z or a "
        "muons.source.theta_range that points at the volume, or raise muons.aim.max_tries"
    )
