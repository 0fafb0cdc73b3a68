"""What a check found: a level, the rule, the place in the file, and a sentence."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """An error would damage something, not work, or hide an alarm; a warning is poor but works."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    >>> str(error("used-twice", "inputs.door", "GPIO17 is used twice"))
    'error: inputs.door: GPIO17 is used twice'
    """

    level: Level
    rule: str
    where: str
    words: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.words}"


def error(rule: str, where: str, words: str) -> Finding:
    """A finding that stops a build."""
    return Finding(Level.ERROR, rule, where, words)


def warning(rule: str, where: str, words: str) -> Finding:
    """A finding that is worth a thought."""
    return Finding(Level.WARNING, rule, where, words)
