//! Protobuf's wire format, as far as a writer needs it: tags, numbers and lengths. Field numbers are below 16, so that a
//! tag is one byte.

use bytes::{BufMut, BytesMut};

/// Bytes of a number as a varint.
pub const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Bytes of a field that holds `length` bytes: tag, length, content.
pub const fn bytes_len(field: u32, length: usize) -> usize {
    debug_assert!(field < 16);
    1 + varint_len(length as u64) + length
}

pub fn put_varint(mut value: u64, out: &mut BytesMut) {
    while value >= 0x80 {
        out.put_u8((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// The tag of a field that holds bytes, text or a message.
pub fn put_tag(field: u32, out: &mut BytesMut) {
    out.put_u8((field << 3 | 2) as u8);
}

/// Tag and length; `length` bytes must follow.
pub fn put_bytes(field: u32, length: usize, out: &mut BytesMut) {
    put_tag(field, out);
    put_varint(length as u64, out);
}

pub fn put_text(field: u32, text: &str, out: &mut BytesMut) {
    put_bytes(field, text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

/// A field that holds a number.
pub fn put_number(field: u32, value: u64, out: &mut BytesMut) {
    out.put_u8((field << 3) as u8);
    put_varint(value, out);
}
