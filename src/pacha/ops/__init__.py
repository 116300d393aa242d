"""What Pacha does: one file a verb. Adapters are handed in as a `Host`; nothing here knows a command line or
a terminal.
"""
