"""Greets the name in the event."""

import os


def handle(event, _context):
    name = event.get("name", "world")
    return {"greeting": f"{os.environ['GREETING']}, {name}!"}
