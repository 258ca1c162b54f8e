"""What a person may be shown of a customer's message: short, and without what is personal, as far as that is told."""

import datafog

SHOWN_CHARS = 300


def shown(text: str) -> str:
    """The message on one line, at most `SHOWN_CHARS` long, without what DataFog's rules recognise as personal."""
    plain = " ".join(datafog.sanitize(text, engine="regex").split())
    return plain if len(plain) <= SHOWN_CHARS else plain[: SHOWN_CHARS - 1] + "…"
