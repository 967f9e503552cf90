"""The command-line verbs of this room, found through the entry point footplate.commands."""
