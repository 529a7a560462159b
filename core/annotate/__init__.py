"""What people say about candidates: tags and their history."""
