"""What each kind of record gives a verdict to say: reasons, and how much each is worth. Pure."""
