"""`pacha server init [--account NAME]`: make this machine a server."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pacha.cli.session import Session
from pacha.core.shown import printable
from pacha.ui.result import print_object
from pacha.ui.text import paint, use_colour

_COLOURS = {"warning": "yellow", "bad": "red"}


def add_arguments(parser: ArgumentParser) -> None:
    """The verb's own arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    init = actions.add_parser("init", help="keep the histories of other hosts here")
    init.add_argument(
        "--account",
        metavar="NAME",
        help="serve as this account, which is made where there is none (default: who runs this)",
    )


def run(session: Session, options: Namespace) -> int:
    """Set up, look at sshd, and print; to run it again mends what was lost."""
    made = session.serve_as(options.account) if options.account else False
    serving = session.serving
    found, address = serving.readiness(), serving.address()
    serving.create()
    found += serving.program_findings()
    hosts = serving.hosts
    values = {
        "account": serving.account.name,
        "made": made,
        "address": address,
        "hosts": hosts.registry.hosts.decode("utf-8", "surrogateescape"),
        "authorized_keys": hosts.keys.path,
        "deployments": hosts.registry.deployments,
        "findings": [finding._asdict() for finding in found],
    }
    if session.as_json:
        print_object(values)
    elif not options.quiet:
        _print(values)
    return 0


def _print(values: dict[str, object]) -> None:
    made = ", made now" if values["made"] else ""
    print(f"this machine is a server, as the account {values['account']}{made}")
    print(f"histories  {printable(str(values['hosts']))}")
    print(f"keys       {printable(str(values['authorized_keys']))}")
    print(f"to pull    {printable(str(values['deployments']))}")
    findings: list[dict[str, str]] = values["findings"]  # type: ignore[assignment]
    for finding in findings:
        state = paint(finding["state"].ljust(9), _COLOURS[finding["state"]], use_colour())
        print(f"{state}  {printable(finding['words'])}")
        if finding["mend"]:
            print(f"           mend: {printable(finding['mend'])}")
    print(f"next       on each host: pacha join {values['address']}")
    print("           or from here: pacha host add NAME --ssh root@NAME")
