"""`python -m graphjit.cli` is the command `graphjit`."""

from .main import main

main()
