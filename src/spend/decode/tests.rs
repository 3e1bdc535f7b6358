use std::io::Write;

use flate2::Compression;

use super::*;

/// `{"a":1}` in brotli, stored: a window of 16 bits, an uncompressed metablock, an empty last one.
const BROTLI: &[u8] = &[0x0b, 0x03, 0x80, b'{', b'"', b'a', b'"', b':', b'1', b'}', 0x03];

fn decoded(coding: &str, cap: u64, chunks: &[&[u8]]) -> (Vec<u8>, Result<(), Undecodable>) {
    let mut decoder = Decoder::new(Some(coding), cap);
    let mut output = Vec::new();
    let mut result = Ok(());
    for chunk in chunks {
        result = decoder.push(chunk, |piece| output.extend_from_slice(piece));
    }
    (output, result)
}

fn raw(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn raw_deflate_and_brotli_are_read_wherever_they_are_cut() {
    let body = br#"{"a":1}"#;
    for (coding, coded) in [("deflate", raw(body)), ("br", BROTLI.to_vec())] {
        for at in 0..=coded.len() {
            let (head, tail) = coded.split_at(at);
            assert_eq!(decoded(coding, 100, &[head, tail]), (body.to_vec(), Ok(())), "{coding} cut at {at}");
        }
    }
}

#[test]
fn no_more_comes_out_than_the_cap() {
    let zeros = vec![0; 1_000_000];
    for (coding, coded) in [("deflate", raw(&zeros)), ("zstd", zstd::bulk::compress(&zeros, 3).unwrap())] {
        let (output, result) = decoded(coding, 1_000, &[&coded]);
        assert_eq!((output.len(), result), (1_000, Err(Undecodable)), "{coding}");
    }
}

#[test]
fn an_unknown_coding_or_a_chain_is_not_decoded() {
    for coding in ["compress", "gzip, br"] {
        assert_eq!(decoded(coding, 100, &[b"x"]), (Vec::new(), Err(Undecodable)));
    }
    for coding in ["", "identity", "Identity, identity"] {
        assert_eq!(decoded(coding, 0, &[b"x"]), (b"x".to_vec(), Ok(())));
    }
}
