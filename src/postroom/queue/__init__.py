"""Mail that waits to leave: when to try (``scheduler``), where to (``routes``), how (``sending``), who does it (``worker``)."""
