"""What fal says over HTTP: queue, storage, CDN, platform API, webhooks; and how it fails."""
