"""Pacha keeps the configuration of servers safe: it captures, versions, restores and delivers it."""

__version__ = "0.1.0"
