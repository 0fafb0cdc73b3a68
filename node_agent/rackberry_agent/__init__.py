"""The node agent: reads its Pi and its pins, tells the rack, and shows its state on real LEDs."""
