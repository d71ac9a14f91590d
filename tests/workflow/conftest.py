"""One finished run that the tests of this folder share."""

import os

import pytest
from checkout import Checkout, new_checkout


@pytest.fixture(scope="session")
def finished(request, tmp_path_factory) -> Checkout:
    """A checkout in which `dvc repro` ran everything once, committed, and pushed to a local remote."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        groups = {item.nodeid.partition("@")[2] for item in request.session.items if "finished" in item.fixturenames}
        assert groups == {"workflow"}, "every worker would make this run: pytest-xdist and pytest do not fit (groups)"
    folder = tmp_path_factory.mktemp("dvc")
    checkout = new_checkout(folder / "project")
    checkout.run("dvc", "remote", "add", "--default", "store", str(folder / "store"))
    checkout.run("dvc", "repro")
    checkout.git("add", "-A")
    checkout.git("commit", "-q", "-m", "results")
    checkout.run("dvc", "push")
    return checkout
