"""What compilers, the build and static checkers say about a tree."""
