"""Exports of other tools, one pure file a tool: a record of a file becomes calls of the tracking API."""
