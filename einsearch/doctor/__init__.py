"""What may be wrong with a machine, a store, a study or a cluster, and how it is mended."""
