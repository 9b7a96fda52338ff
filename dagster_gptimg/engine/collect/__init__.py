"""From ended to stored: the result, its images, the outcome. Also images on record whose files are gone."""
