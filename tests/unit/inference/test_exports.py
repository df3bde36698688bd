import importlib

import pytest

PACKAGES = ("detectors", "inference", "losses")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_can_be_imported(package):
    module = importlib.import_module(f"tomopt_tasks.{package}")
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="Colour"):
        _ = module.Colour
