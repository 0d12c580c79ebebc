"""`python -m einsearch`."""

from einsearch.cli.main import main

if __name__ == "__main__":
    main()
