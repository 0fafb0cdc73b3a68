"""A 1-wire bus on a pin."""


class OneWire:
    def __init__(self, pin):
        self.pin = pin
