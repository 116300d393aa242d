"""The tests of Pacha: black-box parts drive the command line, the others import the package."""
