//! Envoy's messages as `proto/` states them, and the descriptors that reflection serves. Fields that nobody here reads or
//! writes are left out; a decoder skips them.

#![allow(clippy::all, clippy::pedantic, missing_docs, rustdoc::all)]

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

/// Every message above and all that they import, encoded.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests;
