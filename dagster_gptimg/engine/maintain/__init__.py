"""Commands beside a run: costs, verify, prune, forget, adopt, rebuild. All of them judge by receipts."""
