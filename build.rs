//! Compiles `proto/` without `protoc`: types and services for the code, and the descriptors that reflection serves.

use std::error::Error;
use std::path::PathBuf;

use protox::prost::Message;

const FILES: [&str; 2] =
    ["envoy/service/auth/v3/external_auth.proto", "envoy/service/ext_proc/v3/external_processor.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(false).open_files(FILES)?;
    let descriptors = compiler.file_descriptor_set();
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;

    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .bytes(".envoy.service.ext_proc.v3.HttpBody")
        .bytes(".envoy.service.ext_proc.v3.BodyMutation")
        .bytes(".envoy.service.ext_proc.v3.StreamedBodyResponse")
        .include_file("messages.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
