"""What every part of a rack agrees on: topics, messages, states, time and the link to the broker."""

__version__ = "0.1.0"
