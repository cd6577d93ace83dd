// Filled in below in this change series.
