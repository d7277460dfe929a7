"""What `auditsvc status` shows: facts of kernel, service, forwarder and store, gathered once."""
