"""What can go wrong while stitching, by what to do next."""


class Transient(Exception):
    """A deadlock or serialization failure: the same batch may be tried again at once."""


class Unavailable(Exception):
    """The database is away, and what became of the transaction is unknown: read the positions again, then go on."""


class Paused(Exception):
    """Somebody has all tables to himself (a replay): wait, then try again."""


class Stale(Exception):
    """The partition's row is no longer ours: drop everything held in memory and join the group again."""


class Poison(Exception):
    """A record that can never be stitched; ``reason`` is the dead letter's reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


class Stuck(Exception):
    """The process must stop, and be started again, because it gets nowhere; the text says why."""


class Misconfigured(ValueError):
    """The process cannot start, or must stop, until somebody changes its configuration; the text says what."""
