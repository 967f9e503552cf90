"""The queue alone: passes over large worlds."""
