"""Corrected models as audits of their own, and what the correction did to every class."""
