"""Tests of SPF, DKIM, ARC and DMARC."""
