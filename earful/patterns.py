"""Regular expressions that a taxonomy's author may write: RE2's, which take linear time whatever they are."""

from collections.abc import Sequence

import re2


def _options() -> re2.Options:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False  # what is wrong is raised
    return options


def fault(pattern: str) -> str | None:
    """What is wrong with a pattern, if anything is."""
    try:
        return "matches nothing at all, and so every text" if re2.compile(pattern, _options()).search("") else None
    except re2.error as error:
        reason = error.args[0]
        return f"is no regular expression: {reason.decode(errors='replace') if isinstance(reason, bytes) else reason}"


class Finder:
    """Finds which of many patterns are anywhere in a text, in whatever case, in one pass."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._set = re2.Set.SearchSet(_options())
        for pattern in patterns:
            self._set.Add(pattern)
        self._set.Compile()

    def __call__(self, text: str) -> set[int]:
        """Indices of the patterns that are found in `text`."""
        return set(self._set.Match(text) or ())
