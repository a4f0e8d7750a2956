"""KPOP: a Kerberos V5 ticket first, then POP3 (no standard; the messages are those of MIT's krb5_sendauth)."""
