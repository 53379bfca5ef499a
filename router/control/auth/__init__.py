"""Who may announce what: rate limits, proofs, signatures, replays and the rules for senders.

Pure but for signatures, which reads key files.
"""
