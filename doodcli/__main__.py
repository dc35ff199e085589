"""`python -m doodcli`: the command `dood`, as `torchrun` wants it."""

from doodcli.cli import main

main()
