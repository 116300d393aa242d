"""How it is told who made a change."""

from __future__ import annotations

from pacha.core.who import Who, tell

ALICE = Who(7, "root", "alice", "/usr/bin/sed", "sed -i s/80/8080/ ports.conf", "sudo", "3", "nginx.service")


def test_what_a_revision_keeps_is_told_in_a_line() -> None:
    assert tell(ALICE.as_object()) == f"{ALICE.words()}  (session 3, nginx.service)"
    assert tell(ALICE._replace(via="", session="").as_object()) == (
        "alice as root: sed -i s/80/8080/ ports.conf  (nginx.service)"
    )
    plain = Who(7, "www-data", "", "/usr/sbin/nginx", "")
    assert tell(plain.as_object()) == "www-data: /usr/sbin/nginx"
    assert plain.as_object() == {"user": "www-data", "login": None, "exe": "/usr/sbin/nginx", "command": ""}


def test_what_is_not_known_or_no_text_is_passed_over() -> None:
    assert tell({}) == "unknown"
    assert tell({"user": 0, "login": ["x"], "command": None, "session": 3}) == "unknown"
    assert tell({"login": "alice", "more": "later"}) == "alice"
    assert tell({"exe": "/usr/bin/vi"}) == "unknown: /usr/bin/vi"
