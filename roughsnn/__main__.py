"""`python -m roughsnn`: the command line, where the script `roughsnn` is not at hand."""

from roughsnn.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
