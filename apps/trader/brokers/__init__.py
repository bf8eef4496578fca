"""The two places that orders go to: an exchange on paper, and the API of a real exchange."""
