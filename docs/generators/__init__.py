"""What ./run docs makes the reference from: the databases' catalogue, the payments' pure decisions, and the source itself."""
