"""What postroom serves over HTTP."""
