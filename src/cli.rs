//! The command line: serve, check, manage, verify.
