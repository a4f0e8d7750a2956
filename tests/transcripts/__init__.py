"""Transcripts: what client and server say, a case a file, and the harness that plays them."""
