"""Live trees: the only code that reads or writes the files of the host, always by descriptor and beneath its
root.
"""
