"""Real-world clustering, under the paper's protocol and a fair one."""
