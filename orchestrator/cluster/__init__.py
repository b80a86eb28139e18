"""Parts of a run done on other machines. Dask and fsspec are `kdelta[cluster]`, loaded when they are wanted."""
