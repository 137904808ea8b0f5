"""`python -m roughsnn`: the command line, where the script `roughsnn` is not at hand."""

from roughsnn.cli import command

if __name__ == "__main__":
    command()
