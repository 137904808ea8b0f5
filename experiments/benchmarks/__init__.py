"""Studies that print a figure and say whether it stays within its bound.

`python -m experiments.benchmarks` lists them, and runs one whose NAME is given after it.

A study is a module of this package whose name has no leading underscore. The first line of its
docstring is its line in the list, and it defines `study(...) -> Study`; the parameters of that
function, with their annotations and defaults, are the options of the command.
"""
