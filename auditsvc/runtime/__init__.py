"""Small files in the runtime directory, for communication between the service's processes."""
