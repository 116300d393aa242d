"""Start Pacha in an environment whose Python was run with -I -S, several milliseconds faster than -m would.

Called by the launcher of a checkout and by the installed /usr/bin/pacha, with the absolute path of the
command as its first argument: that path becomes sys.argv[0]. A script is compiled at each start, so this
one stays tiny.
"""

import sys

del sys.argv[0]
prefix = sys.executable.rsplit("/", 2)[0]
# What the site module, skipped by -S, would have done.
sys.prefix = sys.exec_prefix = prefix
sys.path.append(__file__.rsplit("/", 2)[0] + "/src")
sys.path.append(f"{prefix}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages")

from pacha.__main__ import main  # noqa: E402

sys.exit(main())
