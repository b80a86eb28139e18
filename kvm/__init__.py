"""Give me a kernel image, get a guest: QEMU machines, their console, and SSH into them."""
