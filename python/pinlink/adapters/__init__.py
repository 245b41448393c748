"""pinlink beneath other libraries. Nothing is imported before it is used."""
