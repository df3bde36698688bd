"""A fit that starts where another one has ended."""

from collections.abc import Mapping
from typing import Any

import torch

from tomopt_tasks.core import UserError
from tomopt_tasks.volume.volume import Volume
from tomopt_tasks.wrapper.checkpoint import Tree, restore_volume, result_volume
from tomopt_tasks.wrapper.observers import geometry


def warm_start(tree: Tree, store: Any, key: str | None) -> Tree:
    """A first checkpoint with the parameters that another fit ended with, if one is named.

    Places, sizes or shares, and the weights of a network come from there; resolutions, prices, the
    budget and edge widths stay those of the detector that the study names.

    Args:
        tree: the first checkpoint of this fit.
        store: where the other one is.
        key: of the other one; None: the first checkpoint stays as it is.

    Raises:
        UserError: there is no such checkpoint, or its detector has other panels.
    """
    if key is None:
        return tree
    ref = store.find("checkpoint", key)
    if ref is None:
        raise UserError(
            f"fit.warm_start: there is no checkpoint {key[:12]} in {store.url}; run the study that "
            "makes it, or name another (`tomopt inspect RUN:STAGE` prints the key)"
        )
    volume, given = restore_volume(tree), result_volume(store.get_record(ref))
    mine, theirs = _shapes(volume), _shapes(given)
    if mine != theirs:
        other = min(set(mine.items()) ^ set(theirs.items()))[0]
        raise UserError(
            f"fit.warm_start: the detector of checkpoint {key[:12]} is made of other parts than "
            f"that of fit.start ({other} is not alike); name one with the same panels, layers, "
            "voxels and kind of budget"
        )
    found = dict(given.named_parameters())
    with torch.no_grad():
        for name, value in volume.named_parameters():
            value.copy_(found[name])
    for layer in volume.get_detectors():
        layer.conform_detector()
    volume.assign_budget()
    row = {**tree["row"], "geometry": geometry(volume)}
    return {**tree, "volume": dict(volume.state_dict()), "row": row}


def _shapes(volume: Volume) -> Mapping[str, str]:
    return {name: str(tuple(each.shape)) for name, each in volume.named_parameters()}
