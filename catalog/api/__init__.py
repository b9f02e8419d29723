"""The catalog over HTTP, for a tenant's own systems; the rules are the pages' own."""
