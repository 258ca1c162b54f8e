"""Everything that Earful raises on purpose.

EarfulError                     a person can mend it; the message says what, where and how
├── InputError                  a file or an option that cannot be used as given
├── TaxonomyError               a taxonomy file that breaks its own rules
├── FeedbackError               one feedback that cannot be tagged (has .field and .reason)
├── BundleError                 a bundle that must not serve
│   ├── BundleNotFound          no bundle in that folder
│   ├── BundleFormatUnknown     its format version is not one this Earful reads
│   ├── BundleManifestInvalid   its manifest cannot be read
│   ├── BundleFileMissing       a file it lists is absent
│   ├── BundleHashMismatch      a file is not the one that was exported
│   ├── BundleLabelsDisagree    model, taxonomy, policy and manifest do not count the same labels
│   └── BundleSmokeTestFailed   it does not reproduce the answers recorded with it
├── ModelNotFound               no such alias or version in the registry
├── Overloaded                  more is waiting than will soon be answered (has .seconds to wait)
├── ServiceError                a service that cannot be reached, or refuses what it was asked (has .status)
├── DeadlinePassed              what was asked was not begun in the time that its caller gave it
└── TrainingError               training cannot go on
    └── ParityError             the exported model does not answer as the trained one
"""


class EarfulError(Exception):
    """Base of all: its message is written for the person who meets it."""


class InputError(EarfulError):
    """A file or an option cannot be used as given."""


class TaxonomyError(EarfulError):
    """A taxonomy breaks its own rules; the message names the place."""


class FeedbackError(EarfulError):
    """One feedback cannot be tagged."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class BundleError(EarfulError):
    """A bundle must not serve."""


class BundleNotFound(BundleError):
    """There is no bundle in that folder."""


class BundleFormatUnknown(BundleError):
    """The bundle's format version is not one this Earful reads."""


class BundleManifestInvalid(BundleError):
    """The manifest is not readable as one."""


class BundleFileMissing(BundleError):
    """A file that the manifest lists is absent."""


class BundleHashMismatch(BundleError):
    """A file is not the one that was exported."""


class BundleLabelsDisagree(BundleError):
    """Model, taxonomy, policy and manifest do not count the same labels."""


class BundleSmokeTestFailed(BundleError):
    """The bundle does not reproduce the answers recorded with it."""


class ModelNotFound(EarfulError):
    """The registry has no such alias or version."""


class Overloaded(EarfulError):
    """More is waiting than will soon be answered."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"more is waiting than will soon be answered; try again in {seconds} s")
        self.seconds = seconds


class DeadlinePassed(EarfulError):
    """What was asked was not begun in the time that its caller gave it."""

    def __init__(self) -> None:
        super().__init__("not begun within the time that was given; give it more, or try again when less is waiting")


class ServiceError(EarfulError):
    """A service cannot be reached (`status` is None), or refuses what it was asked."""

    def __init__(self, status: int | None, message: str) -> None:
        super().__init__(message)
        self.status = status


class TrainingError(EarfulError):
    """Training cannot go on."""


class ParityError(TrainingError):
    """The exported model does not answer as the trained one."""
