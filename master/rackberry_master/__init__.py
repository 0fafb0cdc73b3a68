"""The master: decides who is alive, says so in words, and remembers its rack."""
