//! Wires configuration to stores, gate and listeners; start-up, reload and graceful shutdown.
