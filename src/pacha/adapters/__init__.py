"""The world as Pacha sees it: files, processes, Mercurial, SQLite. Each module hides one foreign
interface.
"""
