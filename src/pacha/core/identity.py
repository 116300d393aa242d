"""What makes a machine this one and no other: files that a copy of it must not have.

Called by `ops/rebuild`. A rebuild that replaces the machine brings them back like all others, one that makes
another of it (`--as-new`) leaves them alone. The list is short on purpose: all else is configuration.
"""

from __future__ import annotations

from pacha.core.patterns import Ignore

# Patterns by what they are, in words for the plan.
IDENTITY: dict[str, tuple[str, ...]] = {
    "machine-id": ("/etc/machine-id", "/var/lib/dbus/machine-id"),
    "ssh host keys": ("/etc/ssh/ssh_host_*_key", "/etc/ssh/ssh_host_*_key.pub"),
    "host name": ("/etc/hostname", "/etc/mailname"),
    "disks": ("/etc/fstab", "/etc/crypttab", "/etc/mdadm/mdadm.conf", "/etc/mdadm.conf"),
    "network interfaces": (
        "/etc/network/interfaces",
        "/etc/network/interfaces.d/**",
        "/etc/netplan/**",
        "/etc/systemd/network/**",
        "/etc/NetworkManager/system-connections/**",
        "/etc/sysconfig/network",
        "/etc/sysconfig/network-scripts/ifcfg-*",
        "/etc/sysconfig/network/ifcfg-*",
        "/etc/udev/rules.d/70-persistent-net.rules",
    ),
}
_ALL = {what: Ignore(patterns, built_in=False) for what, patterns in IDENTITY.items()}


def identity(path: bytes) -> str:
    """What of the machine's identity a path is, empty where it is none."""
    return next((what for what, patterns in _ALL.items() if patterns.matches(path)), "")
