"""The terminal screen of a rack, and the model of the rack that it shares with the commands."""
