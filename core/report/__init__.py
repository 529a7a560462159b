"""The audit as a document for people who will never open the app."""
