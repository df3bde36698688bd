"""Changes as the command line takes them."""

from tomopt_tasks.core import UserError


def pairs(changes: list[str] | None) -> list[tuple[str, str]]:
    """``a.b=1`` as ("a.b", "1"); a place may hold ``=`` inside quotes only.

    Raises:
        UserError: no ``=`` in a change.
    """
    found = []
    for change in changes or []:
        place, equals, value = change.partition("=")
        if not equals:
            raise UserError(f"--set {change}: has no '='; write, for example, --set seed=2")
        found.append((place.strip(), value))
    return found
