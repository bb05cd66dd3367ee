"""`python -m ledlocal`."""

from ledlocal.cli import main

main(prog_name="ledlocal")
