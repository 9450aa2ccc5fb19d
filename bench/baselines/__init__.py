"""What an afternoon's work reaches, to compare with."""
