//! May they: roles, routes, models and networks.
