"""What would run, under which keys, and why; without torch and Prefect."""

from tomopt_tasks.core import lazy_exports

_INPUTS = "tomopt_tasks.planning.inputs"
_PLAN = "tomopt_tasks.planning.plan"

__all__ = [
    "BankInputs",
    "EpochInputs",
    "EvaluateInputs",
    "PredictInputs",
    "Stage",
    "StartInputs",
    "Step",
    "TryInputs",
    "VolumesInputs",
    "look_up",
    "plan_study",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "BankInputs": _INPUTS,
        "EpochInputs": _INPUTS,
        "EvaluateInputs": _INPUTS,
        "PredictInputs": _INPUTS,
        "Stage": _PLAN,
        "StartInputs": _INPUTS,
        "Step": "tomopt_tasks.planning.lookup",
        "TryInputs": _INPUTS,
        "VolumesInputs": _INPUTS,
        "look_up": "tomopt_tasks.planning.lookup",
        "plan_study": _PLAN,
    },
)
