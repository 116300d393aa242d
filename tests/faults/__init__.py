"""Faults on purpose: kills, failing system calls, full disks, power cuts, and a user who swaps links.

All of them ask the same of Pacha, through `world.World`: nothing acknowledged is lost, every file is the
old or the new one, and the next command works with no one's help.
"""
