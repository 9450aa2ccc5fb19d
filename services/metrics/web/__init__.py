"""The journey map page: static files, no build step."""
