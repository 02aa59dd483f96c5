"""After a loss: copies of the catalog, and a catalog from a copy or from the stores alone; a tier that was moved."""
