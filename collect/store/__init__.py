"""Every cell measured once by any number of workers: store, leases, partial sums, engines, a simulation."""
