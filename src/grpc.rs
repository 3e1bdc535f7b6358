//! The Envoy edge: protobuf in, our types out, and back. Nothing is decided here.
