"""The server: forced commands under a real sshd, with real keys and hostile clients."""
