"""The exception that knows which place of a study is wrong."""

from tomopt_tasks.config.paths import Path, show_path
from tomopt_tasks.core import UserError


class Problem(UserError):  # noqa: N818 - style: own errors are named by what they are
    """One sentence about one place: what is wrong, the value got, what is allowed, the cure."""

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(f"{show_path(path)}: {text}")
        self.path = path
        self.text = text
