"""The rack off-device: a demo of real processes, and (from "the rack in a bottle") a simulator."""
