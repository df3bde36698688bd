"""What one design made of one bank of volumes: the input of every figure of merit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from tomopt_tasks.core import UserError

_FLOATS = ("prediction", "truth", "track")
_BY_CUT = ("fiducial_cut", "prediction_cut", "accepted_cut", "used_cut")
_COUNTS = ("n_muons", "generated", "aimed", "accepted", "used", "accepted_map")


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of one design for one bank, with what is needed to explain them.

    A volume in which no muon was accepted has a prediction of NaN.
    """

    prediction: Float[np.ndarray, "exposure volume"]
    """Raw (uncalibrated) prediction, in the unit of the target; NaN: nothing to predict from."""
    truth: Float[np.ndarray, " volume"]
    """True target, in its unit (fill height: m)."""
    n_muons: Int[np.ndarray, " exposure"]
    """Aimed muons per volume at each exposure."""
    generated: Int[np.ndarray, " volume"]
    """Muons generated per volume, at the full exposure; likewise the next three."""
    aimed: Int[np.ndarray, " volume"]
    """Generated muons whose straight line meets the passive volume."""
    accepted: Int[np.ndarray, " volume"]
    """Aimed muons that the panels see."""
    used: Int[np.ndarray, " volume"]
    """Accepted muons with a weight in the prediction."""
    track: Float[np.ndarray, "track 9"]
    """Some muons: x, y, tan x, tan y at the top of the volume; the same at its bottom; p.
    Positions in m, slopes per unit of depth, momentum in GeV."""
    track_accepted: Bool[np.ndarray, " track"]
    """Which of those the panels see."""
    accepted_map: Int[np.ndarray, "x y"]
    """Accepted muons by (x, y) at mid-height, over [-0.5, 1.5] times the volume's side."""
    geometry: tuple[Mapping[str, Any], ...]
    """One mapping a panel: name, pos, xy, z, span, area ... in m and m2."""
    budget_used: float | None
    """Cost of all panels, in the unit of the budget (here m2)."""
    seconds_per_muon: float
    """Time to collect one aimed muon [s]."""
    fiducial_cut: float | None = None
    """Cut in software that these were made with: distance of tracks from the axis [m]; None: none.
    Tracks and map are shown without it."""
    with_cuts: "tuple[Predictions, ...]" = ()
    """The same with each cut that was tried."""

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], attrs: Mapping[str, Any]
    ) -> "Predictions":
        """From the arrays and attributes of a stored predictions dataset."""
        missing = [name for name in (*_FLOATS, *_COUNTS, "track_accepted") if name not in arrays]
        if missing:
            raise UserError(
                f"predictions lack the array {missing[0]!r}; run the predict stage again"
            )
        columns: dict[str, Any] = {name: np.asarray(arrays[name], np.float64) for name in _FLOATS}
        columns |= {name: np.asarray(arrays[name], np.int64) for name in _COUNTS}
        found = cls(
            **columns,
            track_accepted=np.asarray(arrays["track_accepted"], np.bool_),
            geometry=tuple(attrs.get("geometry", ())),
            budget_used=attrs.get("budget_used"),
            seconds_per_muon=float(attrs["seconds_per_muon"]),
        )
        rows = (arrays[name] for name in _BY_CUT) if _BY_CUT[0] in arrays else ([], [], [], [])
        cuts = [
            replace(found, fiducial_cut=float(cut), prediction=p, accepted=accepted, used=used)
            for cut, p, accepted, used in zip(*rows, strict=True)
        ]
        return replace(found, with_cuts=tuple(cuts))

    def floored(self, step: float | None) -> "Predictions":
        """The same, judged by targets rounded down to a multiple of ``step``; None: as they are.

        Compat: the published ladle evaluation computes ``0.1 * ((target / 0.1) // 1)`` in single
        precision, where 1.3 / 0.1 is 12.999999.
        """
        if step is None:
            return self
        unit = np.float32(step)
        floors = unit * np.floor(self.truth.astype(np.float32) / unit)
        truth = floors.astype(np.float64)
        cuts = tuple(replace(each, truth=truth) for each in self.with_cuts)
        return replace(self, truth=truth, with_cuts=cuts)

    @property
    def full(self) -> int:
        """Index of the largest exposure."""
        return int(np.argmax(self.n_muons))

    @property
    def best(self) -> Float[np.ndarray, " volume"]:
        """Raw prediction at the largest exposure."""
        chosen: np.ndarray = self.prediction[self.full]
        return chosen
