"""Which classes fulfil which protocol of `ops/ports`. A fake that a test uses is added here, and held to the same."""

from __future__ import annotations

from pacha.adapters.archive import Archive
from pacha.adapters.change_file import ChangeFile
from pacha.adapters.copies import Copy
from pacha.adapters.deployments import Deployments
from pacha.adapters.files.accounts import Accounts
from pacha.adapters.files.tree import Directory, Tree
from pacha.adapters.files.write import Workbench
from pacha.adapters.forgets import Forgets
from pacha.adapters.hg.remote import Remote
from pacha.adapters.hg.store import Store
from pacha.adapters.hooks import HookResult, Hooks
from pacha.adapters.index import Index
from pacha.adapters.journal import Journal, Journals
from pacha.adapters.lock import Lock, Locks
from pacha.adapters.packages.system import System
from pacha.adapters.preflight import Preflight
from pacha.adapters.secrets import Identities, Secrets
from pacha.adapters.signatures import Signatures
from pacha.adapters.spool import Spool
from pacha.adapters.units import Units
from pacha.ops import ports
from pacha.ops.host import NoIdentities

IMPLEMENTATIONS: list[tuple[type, type]] = [
    (ports.Accounts, Accounts),
    (ports.Directory, Directory),
    (ports.Workbench, Workbench),
    (ports.Tree, Tree),
    (ports.Store, Store),
    (ports.Copy, Copy),
    (ports.Index, Index),
    (ports.System, System),
    (ports.Deployments, Deployments),
    (ports.Units, Units),
    (ports.Preflight, Preflight),
    (ports.Forgets, Forgets),
    (ports.Archive, Archive),
    (ports.Server, Remote),
    (ports.HookResult, HookResult),
    (ports.Hooks, Hooks),
    (ports.Secrets, Secrets),
    (ports.Signatures, Signatures),
    (ports.Identities, Identities),
    (ports.Identities, NoIdentities),
    (ports.Lock, Lock),
    (ports.Lock, Locks),
    (ports.Spool, Spool),
    (ports.ChangeFile, ChangeFile),
    (ports.Images, Journal),
    (ports.Journal, Journal),
    (ports.Journals, Journals),
]
