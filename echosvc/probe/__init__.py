"""The verifying client: what does this path do to my bytes?"""
