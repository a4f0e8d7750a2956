"""Who sent a message, and may they: SPF, DKIM, ARC, DMARC. Questions to the DNS go through a Resolver that is given."""
