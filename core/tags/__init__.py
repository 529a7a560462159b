"""What people say about candidates, as an append-only log, and what follows from it."""
