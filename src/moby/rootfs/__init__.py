"""Plan → stream of entries: what the machine's root file system holds."""
