"""`python -m gateway.cli`, which is how workers are started."""

from gateway.cli.application import main

main()
