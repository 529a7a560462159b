"""What is stored: an audit, run, analysed, read, checked."""
