"""How long an open change may hold captures back.

Called by the agent and by `ops/change`. A change that nobody ends must not keep anything out of the history
for ever. The file whose age counts lies in the state folder while a change is open.
"""

NAME = "change.json"
LIMIT_NS = 8 * 3600 * 1_000_000_000


def holds(begun_ns: int, now_ns: int) -> bool:
    """Whether a change begun then still holds captures back now."""
    return now_ns - begun_ns < LIMIT_NS
