//! As much DER (X.690) as public keys need: values with their lengths, checked, within the input.

/// Tags of the universal types that public keys are made of.
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const SEQUENCE: u8 = 0x30;

/// The content of the value at the beginning, which must have this tag, and what follows it.
pub(super) fn value(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = input.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81 => {
            let (length, rest) = rest.split_first()?;
            (usize::from(*length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length).filter(|_| *first == tag)
}

/// The same where nothing may follow.
pub(super) fn only(tag: u8, input: &[u8]) -> Option<&[u8]> {
    value(tag, input).filter(|(_, rest)| rest.is_empty()).map(|(content, _)| content)
}

/// Appends a value, its content being the parts together: below 64 KiB.
pub(super) fn write(tag: u8, parts: &[&[u8]], out: &mut Vec<u8>) -> Option<()> {
    let length = u16::try_from(parts.iter().map(|part| part.len()).sum::<usize>()).ok()?;
    let [high, low] = length.to_be_bytes();
    match length {
        0..=0x7f => out.extend([tag, low]),
        0x80..=0xff => out.extend([tag, 0x81, low]),
        _ => out.extend([tag, 0x82, high, low]),
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    Some(())
}
