"""One adapter per dataset layout: official files in, one index out."""
