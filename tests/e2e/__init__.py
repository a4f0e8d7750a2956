"""Real mail clients against a real server."""
