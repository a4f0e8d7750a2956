"""What several test folders share: a live server, simple clients."""
