"""`python -m auditsvc` is the command `auditsvc`."""

from auditsvc.cli import main

main()
