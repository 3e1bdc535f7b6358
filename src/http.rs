//! The management API on HTTP: parse, call, render.
