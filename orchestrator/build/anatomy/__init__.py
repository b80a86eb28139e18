"""What is inside a built kernel: objects, functions, sections, exports; and, compiled again, frames and layouts."""
