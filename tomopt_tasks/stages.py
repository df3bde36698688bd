"""The bodies of the stages, in pipeline order: load what went before, compute, commit.

Each is a pure function of its inputs and parents, so that its result can be stored under its key.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tomopt_tasks.caching.device import compute_device, graph_memory
from tomopt_tasks.evaluation.predictions import Predictions
from tomopt_tasks.evaluation.record import evaluate as evaluate_designs
from tomopt_tasks.muons.source import generation_rate
from tomopt_tasks.planning.inputs import (
    BankInputs,
    EpochInputs,
    EvaluateInputs,
    PredictInputs,
    StartInputs,
    TrainInputs,
    TryInputs,
    VolumesInputs,
)
from tomopt_tasks.store.arrays import ArraySpec
from tomopt_tasks.store.datasets import Dataset
from tomopt_tasks.store.partial import Partial
from tomopt_tasks.store.predictions import cut_arrays, prediction_arrays, record_arrays
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store
from tomopt_tasks.transport.bank import COLUMNS, transported
from tomopt_tasks.transport.states import LazyStates, States
from tomopt_tasks.volume.scenes import make_scene
from tomopt_tasks.wrapper.build import build_volume
from tomopt_tasks.wrapper.checkpoint import (
    PhaseFit,
    Tree,
    first_tree,
    result_volume,
    set_edges,
    validation_loss,
)
from tomopt_tasks.wrapper.exposures import Asked, build_records, predict_exposures
from tomopt_tasks.wrapper.observers import geometry
from tomopt_tasks.wrapper.scans import BankedPassives
from tomopt_tasks.wrapper.warm import warm_start

Parents = Mapping[str, Ref]
PANEL_COLUMNS = ("x", "y", "z", "span_x", "span_y")
HELD = 1 << 27
"""Bytes of a bank that stays in memory; larger ones are read scan by scan."""


def make_volumes(store: Store, key: str, inputs: VolumesInputs, parents: Parents) -> Ref:
    """Scenes: radiation lengths and the targets that predictions are judged by."""
    x0, target = make_scene(inputs.world, inputs.scene, inputs.seed, inputs.split)
    arrays = {
        "x0": ArraySpec(x0.numpy(), ("volume", "z", "x", "y"), "m", "radiation length"),
        "target": ArraySpec(
            target.numpy(), ("volume", *(f"target_{i}" for i in range(target.ndim - 1)))
        ),
        "volume_id": ArraySpec(np.arange(len(target), dtype=np.int64), ("volume",)),
    }
    return store.put_dataset(
        "volumes", key, arrays,
        {"scene": inputs.scene.model_dump(mode="json", context={"key": True})},
        {"volumes": len(target)},
    )  # fmt: skip


def transport_muons(store: Store, key: str, inputs: BankInputs, parents: Parents) -> Ref:
    """A muon bank: the state of each muon above and below each volume."""
    x0 = _volumes(store, parents["volumes"])[0].to(compute_device())
    n_muons = inputs.muons.per_volume
    generated = torch.zeros(len(x0), dtype=torch.int64)

    def states() -> Iterator[np.ndarray]:
        for part in transported(
            x0, inputs.world, inputs.muons, inputs.transport, inputs.seed, inputs.split,
            inputs.replica,
        ):  # fmt: skip
            generated[part.volumes] += part.generated.cpu()
            yield part.state[None].cpu().numpy()

    state = ArraySpec.promised(
        (1, len(x0), n_muons, len(COLUMNS)), "float64", ("replica", "volume", "muon", "column"),
        description="states above and below the passive volume; m, tangents, GeV",
        attrs={"columns": list(COLUMNS)},
    )  # fmt: skip
    with store.draft("bank", key) as draft:
        draft.put_rows("state", state, states())
        rate = generation_rate(inputs.muons, inputs.world)
        metrics = {"muons": len(x0) * n_muons, "generated": int(generated.sum())}
        arrays = {"generated": ArraySpec(generated[None].numpy(), ("replica", "volume"))}
        return store.commit(draft, arrays, {"rate_hz": rate}, metrics)


def start_fit(store: Store, key: str, inputs: StartInputs, parents: Parents) -> Ref:
    """Checkpoint 0: the detector before the first update."""
    first = first_tree(inputs.world, inputs.detector, inputs.model, inputs.seed)
    tree = warm_start(first, store, inputs.checkpoint)
    return store.put_record("checkpoint", key, tree, tree["row"], _panel_view(tree["row"]))


def try_start(store: Store, key: str, inputs: TryInputs, parents: Parents) -> Ref:
    """One of the candidates of a multi-start, by its rank, goes on for some epochs."""
    partial = Partial(store, key)
    losses = _candidate_losses(store, inputs, parents)
    order = sorted(range(len(losses)), key=lambda n: (losses[n] is None, losses[n] or 0.0, n))
    chosen = order[inputs.place - 1]
    tree = partial.latest() or store.get_record(parents[f"candidate/{chosen + 1}"])
    for each, replica in zip(inputs.epochs, inputs.replicas, strict=True):
        if tree["fit"]["stop"] or each.epoch < tree["fit"]["epoch"]:
            continue
        read = {"volumes": parents["volumes"], "bank": parents[f"bank/{replica}"]}
        new = each.phase_epoch == 0
        fit = _limited(PhaseFit(tree, each.phase, each.inference, each.loss, each.seed, new=new))
        passives, _ = _passives(store, read)
        fit.run(passives, each.epoch, each.volumes_per_step, new=new)
        tree = fit.tree()
        partial.between_steps(each.epoch + 1, partial_of(tree))
    metrics = tree["row"] | {"choice": {"candidate": chosen + 1, "losses": losses}}
    ref = store.put_record("checkpoint", key, tree, metrics, _panel_view(tree["row"]))
    partial.clear()
    return ref


def fit_epoch(store: Store, key: str, inputs: EpochInputs, parents: Parents) -> Ref:
    """One pass over the training volumes; the next checkpoint."""
    partial = Partial(store, key)
    before = partial.latest() or store.get_record(parents["checkpoint"])
    passives, _ = _passives(store, parents)
    new, size = inputs.phase_epoch == 0, inputs.volumes_per_step
    parts = (inputs.phase, inputs.inference, inputs.loss, inputs.seed)
    fit = _limited(PhaseFit(before, *parts, new=new and before.get("half") is None))
    valid = _passives(store, parents, "valid/")[0] if inputs.edges else None
    set_edges(fit.wrapper.volume, hard=inputs.edges == "hard")
    steps = partial.between_steps
    fit.run(passives, inputs.epoch, size, new=new, between_steps=steps, valid=valid)
    tree = fit.tree()
    ref = store.put_record("checkpoint", key, tree, tree["row"], _panel_view(tree["row"]))
    partial.clear()
    return ref


def train_model(store: Store, key: str, inputs: TrainInputs, parents: Parents) -> Ref:
    """The network of a design that stands still, trained as long as that of the fit."""
    partial = Partial(store, key)
    fresh = first_tree(inputs.world, inputs.detector, inputs.inference, inputs.seed)
    tree = partial.latest() or fresh
    plan = [(phase, i) for phase in inputs.phases for i in range(phase.total_epochs)]
    for epoch in range(tree["fit"]["epoch"], len(plan)):
        phase, phase_epoch = plan[epoch]
        role = f"bank {epoch % inputs.n_banks}".removesuffix(" 0")
        passives, _ = _passives(store, {"volumes": parents["volumes"], "bank": parents[role]})
        new = phase_epoch == 0
        fit = _limited(PhaseFit(tree, phase, inputs.inference, inputs.loss, inputs.seed, new=new))
        fit.run(passives, epoch, phase.volumes_per_step, new=new)
        tree = fit.tree()
        if tree["fit"]["stop"]:
            break
        if epoch + 1 < len(plan):
            partial.between_steps(epoch + 1, lambda tree=tree: tree)  # type: ignore[misc]
    ref = store.put_record("checkpoint", key, tree, tree["row"], _panel_view(tree["row"]))
    partial.clear()
    return ref


def predict(store: Store, key: str, inputs: PredictInputs, parents: Parents) -> Ref:
    """What a design makes of a bank, at several exposures."""
    if "checkpoint" in parents:
        volume = result_volume(store.get_record(parents["checkpoint"]))
    else:
        assert inputs.detector is not None
        volume = build_volume(inputs.world, inputs.detector)
    passives, bank = _passives(store, parents)
    set_edges(volume, hard=inputs.edges == "hard")
    asked = Asked(inputs.inference, inputs.exposures, inputs.seed)
    looking = build_records(inputs.records)
    records = predict_exposures(volume, asked, passives, looking=looking)
    arrays = prediction_arrays(records, inputs.exposures, passives, bank["generated"])
    if inputs.fiducial_cuts:
        cuts = inputs.fiducial_cuts
        tried = [predict_exposures(volume, asked, passives, fiducial=cut) for cut in cuts]
        arrays |= cut_arrays(tried, cuts)
    panels = geometry(volume)
    arrays |= record_arrays(looking, [panel["name"] for panel in panels])
    aimed = len(passives) * passives.state.shape[1]
    attrs = {
        "geometry": panels,
        "budget_used": sum(panel["area"] * panel["m2_cost"] for panel in panels),
        "seconds_per_muon": float(bank["generated"].sum()) / aimed / bank["rate_hz"],
    }
    metrics = {"accepted": int(arrays["accepted"].data.sum()), "volumes": len(passives)}
    return store.put_dataset("predictions", key, arrays, attrs, metrics)


def evaluate(store: Store, key: str, inputs: EvaluateInputs, parents: Parents) -> Ref:
    """Figures of merit of every design on the test bank, with their errors, and paired ratios."""
    banks: dict[str, dict[str, Predictions]] = {"valid": {}, "test": {}}
    for split, found in banks.items():
        for design in inputs.designs:
            found[design] = load_predictions(store, parents[f"{split}/{design}"])
    tree = evaluate_designs(
        banks["valid"], banks["test"], inputs.evaluation, inputs.baselines, inputs.evaluation.seed
    )
    summary = {name: figures["mse"] for name, figures in tree["designs"].items()}
    return store.put_record("evaluation", key, tree, {"mse": summary})


Body = Callable[[Store, str, Any, Parents], Ref]

BODIES: dict[str, Body] = {
    "make_volumes": make_volumes,
    "transport_muons": transport_muons,
    "start_fit": start_fit,
    "try_start": try_start,
    "fit_epoch": fit_epoch,
    "train_model": train_model,
    "predict": predict,
    "evaluate": evaluate,
}
"""Name of a stage -> its body, in pipeline order."""


def load_predictions(store: Store, ref: Ref) -> Predictions:
    """Predictions as the evaluation reads them."""
    dataset = store.open_dataset(ref)
    return Predictions.from_arrays(
        {name: dataset.array(name) for name in dataset.names}, dataset.attrs
    )


def partial_of(tree: Tree) -> Callable[[], Tree]:
    """Gives a tree when it is asked for."""
    return lambda: tree


def _candidate_losses(store: Store, inputs: TryInputs, parents: Parents) -> list[float | None]:
    """Loss of every candidate on the validation bank; None: it has none, or there is no choice."""
    refs = [ref for role, ref in parents.items() if role.startswith("candidate/")]
    if len(refs) == 1:
        return [None]
    passives, _ = _passives(store, parents, "valid/")
    trees = (store.get_record(parents[f"candidate/{n}"]) for n in range(1, len(refs) + 1))
    hard = inputs.edges == "hard"
    return [
        validation_loss(tree, inputs.inference, inputs.loss, inputs.seed, passives, hard=hard)
        for tree in trees
    ]


def _panel_view(row: Mapping[str, Any]) -> dict[str, ArraySpec]:
    """The panels of a checkpoint as an array, for people without this code."""
    panels = row["geometry"]
    table = [[*panel["xy"], panel["z"], *panel["span"]] for panel in panels]
    attrs = {"panels": [panel["name"] for panel in panels], "columns": list(PANEL_COLUMNS)}
    about = "centre, top and spans of each panel"
    data = np.array(table, dtype=np.float64).reshape(len(panels), len(PANEL_COLUMNS))
    return {"detector": ArraySpec(data, ("panel", "column"), "m", about, attrs)}


def _limited(fit: PhaseFit) -> PhaseFit:
    """The fit, with what its graphs may take of the device."""
    memory = fit.wrapper.memory
    memory.limit = graph_memory(compute_device()) or memory.limit
    return fit


def _volumes(store: Store, ref: Ref) -> tuple[Tensor, Tensor]:
    dataset = store.open_dataset(ref)
    return torch.from_numpy(dataset.array("x0")), torch.from_numpy(dataset.array("target"))


def _passives(
    store: Store, parents: Parents, of: str = ""
) -> tuple[BankedPassives, dict[str, Any]]:
    """Volumes with their bank, and what else the bank says; ``of``: where their roles begin."""
    refs = _Refs((parents[f"{of}volumes"], parents[f"{of}bank"]))
    return _cached_passives(store, refs[0].key, refs[1].key, refs)


class _Refs(tuple[Ref, Ref]):
    """Refs beside a cache key: equal whatever they hold, since the keys decide."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Refs)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=3)
def _cached_passives(
    store: Store, _volumes_key: str, _bank_key: str, refs: _Refs
) -> tuple[BankedPassives, dict[str, Any]]:
    """Small banks stay in memory between the epochs of a process."""
    x0, target = (part.to(compute_device()) for part in _volumes(store, refs[0]))
    bank = store.open_dataset(refs[1])
    return BankedPassives(x0, target, states_of(bank)), {
        "generated": bank.array("generated")[0],
        "rate_hz": float(bank.attrs["rate_hz"]),
    }


def states_of(bank: Dataset) -> States:
    """The states of a bank: all of them if they are few, else read when they are looked at."""
    info = bank.info("state")
    if info.nbytes <= HELD:
        return torch.from_numpy(bank.array("state")[0])
    _, size, length, _ = info.chunks

    @lru_cache(maxsize=2)  # scans end within chunks: the last one is wanted again
    def chunk(row: int, column: int) -> Tensor:
        volumes = slice(row * size, (row + 1) * size)
        muons = slice(column * length, (column + 1) * length)
        return torch.from_numpy(bank.rows("state", volumes, muons)[0])

    def load(volumes: slice, muons: slice) -> Tensor:
        columns = range(muons.start // length, -(-muons.stop // length))
        parts = [
            torch.cat([chunk(row, column) for column in columns], 1)
            if len(columns) > 1
            else chunk(row, columns.start)
            for row in range(volumes.start // size, -(-volumes.stop // size))
        ]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts)
        first, start = volumes.start % size, muons.start % length
        n_volumes, n_muons = volumes.stop - volumes.start, muons.stop - muons.start
        return joined[first:, start:][:n_volumes, :n_muons]

    return LazyStates(info.shape[1:], load)
