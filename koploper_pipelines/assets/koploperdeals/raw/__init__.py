"""Raw: what was delivered about the deals, as it came."""
