"""What crosses a process: contracts and plumbing that two services import."""
