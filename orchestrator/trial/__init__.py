"""One guest in, one GuestRun out."""
