"""A store's name goes into manifests, labels and logs, so it never holds a secret."""

import pytest

from tomopt_tasks.core import UserError
from tomopt_tasks.store.opening import open_store


@pytest.mark.parametrize("scheme", ["s3", "https"])
def test_a_store_named_with_credentials_is_refused_without_repeating_them(scheme):
    with pytest.raises(UserError, match="credentials before an @") as refused:
        open_store(f"{scheme}://AKIAKEY:very-secret@bucket/prefix")
    assert "very-secret" not in str(refused.value)


def test_a_folder_may_have_an_at_sign_in_its_name(tmp_path):
    assert open_store(tmp_path / "me@home").url.endswith("me@home")
