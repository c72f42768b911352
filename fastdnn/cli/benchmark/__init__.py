"""Training speed side by side with the other libraries that are installed: ``fastdnn bench``."""
