"""`python -m synthmed` is the same as the command `synthmed`."""

from synthmed.cli import main

if __name__ == "__main__":
    main()
