"""Names and texts as one line of harmless characters, for terminals, logs and messages alike.

Called by whatever puts a path or a person's words into a sentence. It must not know colours or streams.
"""


def shown(path: bytes) -> str:
    """A path on one line: what is not printable, or not UTF-8, is escaped as in C, so is the backslash."""
    return printable(path.decode("utf-8", "surrogateescape").replace("\\", "\\\\"))


def printable(text: str) -> str:
    """Text without control characters, line breaks and direction marks, each escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is not UTF-8, as surrogateescape has it
        return f"\\x{number - 0xDC00:02x}"
    simple = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return simple.get(character) or character.encode("unicode_escape").decode()
