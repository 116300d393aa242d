"""The package managers, one small module a family behind one port: what is installed, and how to install."""
