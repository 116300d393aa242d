"""An independent judge: is this tree, in every respect, what its saved twin is?

Made of rsync, find, getfacl, getfattr, lsattr and sha256sum. It never imports Pacha, so that a mistake
in Pacha's idea of an entry can't hide in the test of that same idea.
"""

from tests.oracle.compare import compare
from tests.oracle.twin import save_twin, wipe

__all__ = ["compare", "save_twin", "wipe"]
