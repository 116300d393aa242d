"""Pushed to a machine of its own: packages, services, and a configuration that is tried before it is live."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle import compare, save_twin
from tests.push.fleet import deploy
from tests.push.machine import network
from tests.rebuild import debian

pytestmark = [
    pytest.mark.skipif(bool(debian.why_not()), reason=debian.why_not()),
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("debian"),
]
SITE = """\
server {{
    listen {port} default_server;
    location / {{ return 200 "{words}"; }}
}}
"""
DESCRIBED = """\
packages = ["nginx-light"]
absent = ["/etc/nginx/sites-enabled/default"]
restart = ["nginx"]
"""
ANSWERS = """\
#!/bin/sh
python3 - <<'end'
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8080/", timeout=5).read().decode())
end
"""


def test_a_web_server_comes_changes_and_is_never_broken(tmp_path: Path) -> None:
    with network(tmp_path) as net:
        web1 = net.machine("web1")
        page = f"http://{web1.address}:8080/"
        files = {
            "pacha.toml": DESCRIBED,
            "files/etc/nginx/conf.d/site.conf": SITE.format(port=8080, words="one"),
            "hooks/check/10-nginx": "#!/bin/sh\nexec nginx -t -q\n",
            "hooks/post-push/10-answers": ANSWERS,
        }
        site = deploy(tmp_path / "site", files)

        assert "there is no Pacha on it" in net.push(site, "web1").out
        first = net.push(site, "web1", "--bootstrap")
        assert first.code == 0, first
        assert "install ok installed" in web1.run("dpkg-query", "-W", "-f", "${Status}", "nginx-light").stdout
        assert net.get(page) == "one"

        # Another content: the service has it.
        live = "files/etc/nginx/conf.d/site.conf"
        deploy(site, {live: SITE.format(port=8080, words="two")})
        changed = net.push(site, "web1")
        assert changed.code == 0, changed
        assert net.get(page) == "two"
        assert web1.run("pacha", "log", "/etc/nginx/conf.d/site.conf").stdout.count("push of site") == 2

        # One that nginx refuses is never live; one that it takes, but that does not answer where it shall, is
        # put back, and what was there is served again.
        twin = tmp_path / "twin"
        save_twin(web1.root / "etc", twin)
        for wrong, said in (
            ("server { listen eighty; }\n", "check/10-nginx"),
            (SITE.format(port=9090, words="three"), "FAILED and was undone"),
        ):
            deploy(site, {live: wrong})
            refused = net.push(site, "web1")
            assert refused.code == 1, refused
            assert said in refused.out
            assert compare(twin, web1.root / "etc") == []
            assert net.get(page) == "two"

        # What is live again is what was there: nothing to do.
        deploy(site, {live: SITE.format(port=8080, words="two")})
        assert "nothing to do" in net.push(site, "web1").out
