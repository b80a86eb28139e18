"""What a suite is, and how its programs come to be."""
