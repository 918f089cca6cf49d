"""What is spoken over HTTP: webhooks that ring the bell, and whether the process is alive."""
