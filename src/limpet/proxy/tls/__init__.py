"""TLS towards clients (`accepted`) and targets (`connected`), over one transport (`stream`)."""
