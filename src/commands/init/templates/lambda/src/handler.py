"""Greets whoever the event names."""

import os


def handle(event, _context):
    name = event.get("name", "world")
    return {"greeting": f"{os.environ['GREETING']}, {name}!"}
