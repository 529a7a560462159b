"""What every page stands in: the shell, the process's caches, addresses, media, tags, cards."""
