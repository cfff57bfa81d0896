"""`python -m tailwag`: the command line without its script."""

from .main import main

main()
