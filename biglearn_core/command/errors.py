"""What goes wrong in a command for a reason that its user can do something about."""

__all__ = ["CommandError"]


class CommandError(Exception):
    """The text names the cause, the value seen and the remedy."""
