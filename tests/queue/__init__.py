"""The queue."""  # noqa: A005 - named like the package it tests
