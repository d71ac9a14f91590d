"""`python -m synthmed` is the same as the command `synthmed`; it imports little where a fork server does the work."""

import sys

from synthmed.core import forkserver


def main() -> None:
    """The command line, see cli.main; in a step of a run by the run's fork server."""
    status = forkserver.hand_over(sys.argv[1:])
    if status is not None:
        sys.exit(status)
    from synthmed.cli import main as run_here

    run_here()


if __name__ == "__main__":
    main()
