"""What a stage is made from and is lost, through all generations."""

from collections.abc import Mapping

from tomopt_tasks.planning.plan import Stage
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store


def lost_ancestors(
    stage: Stage, plan: Mapping[str, Stage], refs: Mapping[str, Ref], store: Store
) -> list[Stage]:
    """What is not in the store of all that a stage is made from, the latest first.

    What was given up is made from what was given up, generation after generation; of what is there
    nobody asks what it was made from.

    Args:
        stage: it could not read something.
        plan: key -> stage, in pipeline order.
        refs: key -> ref of every ancestor, be it lost or not.
        store: where to look.
    """
    lost: set[str] = set()
    todo = [stage]
    while todo:
        for parent in todo.pop().parents.values():
            key = refs[parent].key  # a fit that stopped has one for many epochs
            planned = plan.get(key)
            if planned is not None and key not in lost and store.find(planned.kind, key) is None:
                lost.add(key)
                todo.append(planned)
    return [planned for key, planned in plan.items() if key in lost][::-1]
