"""Configuration, the layout of the data directory, logging and the first certificate.

``settings`` states every setting once; ``loading`` reads TOML and the environment into it and reports all mistakes;
``reference`` writes docs/configuration.md from it.
"""
