//! The pipeline: one request in, one decision out. It knows nothing of gRPC, so Envoy's Check, the management API, the
//! command line and the tests all call the same function.
