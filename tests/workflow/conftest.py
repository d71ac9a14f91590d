"""One finished run that the tests of this folder share."""

import pytest
from checkout import Checkout, new_checkout


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Checkout:
    """A checkout in which `dvc repro` ran everything once, committed, and pushed to a local remote."""
    folder = tmp_path_factory.mktemp("dvc")
    checkout = new_checkout(folder / "project")
    checkout.run("dvc", "remote", "add", "--default", "store", str(folder / "store"))
    checkout.run("dvc", "repro")
    checkout.git("add", "-A")
    checkout.git("commit", "-q", "-m", "results")
    checkout.run("dvc", "push")
    return checkout
