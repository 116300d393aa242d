"""The store: Mercurial, reached through one child process and a small extension of Pacha's own."""
