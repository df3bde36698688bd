"""What the stage of a campaign computes; the other stages are those of its studies."""

from collections.abc import Mapping

from tomopt_tasks.campaigns.tables import CompareInputs
from tomopt_tasks.evaluation.compare import Entry, compare
from tomopt_tasks.stages import load_predictions
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store


def compare_members(
    store: Store, key: str, inputs: CompareInputs, parents: Mapping[str, Ref]
) -> Ref:
    """Figures of all entries, paired ratios over volumes and repetitions, and who is better."""
    entries = {}
    for entry in inputs.entries:
        repeats = {}
        for label in entry.repeats:
            valid, test = (
                load_predictions(store, parents[f"{split}/{entry.name}/{label}"])
                for split in ("valid", "test")
            )
            repeats[label] = (valid, test)
        entries[entry.name] = Entry(repeats, baseline=entry.baseline)
    tree = compare(entries, inputs.evaluation)
    summary = {name: figures["mse"] for name, figures in tree["entries"].items()}
    return store.put_record("comparison", key, tree, {"mse": summary})
