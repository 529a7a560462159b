"""Elements that know no audit: pictures of figures, text for every place, the gallery."""
