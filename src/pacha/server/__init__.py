"""What answers over SSH on a server: the hosts that it keeps, their keys, and the forced command."""
