"""Where the runs of a sweep are computed: in processes of this machine, by SLURM, by Dask."""
