"""`python -m abatch.cli`."""

from .main import main

main()
