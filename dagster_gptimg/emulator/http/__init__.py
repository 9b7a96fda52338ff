"""fal's HTTP interface: queue, storage, CDN, platform API, webhooks; and its failures."""
