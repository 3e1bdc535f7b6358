//! What travels to the script and back: MessagePack, written and read in place. `script/` says what each message and
//! answer holds.

use bytes::Bytes;
use rmp::Marker;
use rmp::encode;

use crate::domain::Money;

const GIGA: i64 = 1_000_000_000;
/// The largest whole number that a double, and so the script, tells from its neighbours.
pub(super) const EXACT: i64 = 9_007_199_254_740_991;

/// Money as whole dollars and nano-dollars (0 to 999,999,999).
pub(super) const fn split(nanos: i64) -> (i64, i64) {
    (nanos.div_euclid(GIGA), nanos.rem_euclid(GIGA))
}

/// The other way round; saturates.
pub(super) const fn join(dollars: i64, nanos: i64) -> i64 {
    dollars.saturating_mul(GIGA).saturating_add(nanos)
}

/// Writes a message. Writing to memory cannot fail.
#[derive(Clone, Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Writer(Vec::with_capacity(bytes))
    }

    pub(super) fn list(length: usize) -> Self {
        let mut writer = Writer::with_capacity(64);
        writer.array(length);
        writer
    }

    pub(super) fn array(&mut self, length: usize) -> &mut Self {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let _ = encode::write_array_len(&mut self.0, length);
        self
    }

    pub(super) fn int(&mut self, number: i64) -> &mut Self {
        let _ = encode::write_sint(&mut self.0, number);
        self
    }

    pub(super) fn count(&mut self, number: u64) -> &mut Self {
        self.int(i64::try_from(number).unwrap_or(EXACT).min(EXACT))
    }

    pub(super) fn bool(&mut self, value: bool) -> &mut Self {
        let _ = encode::write_bool(&mut self.0, value);
        self
    }

    pub(super) fn bytes(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        let _ = encode::write_str_len(&mut self.0, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn money(&mut self, money: Money) -> &mut Self {
        let (dollars, nanos) = split(money.as_nanos());
        self.int(dollars).int(nanos)
    }

    /// What was written before, as it is.
    pub(super) fn raw(&mut self, written: &[u8]) -> &mut Self {
        self.0.extend_from_slice(written);
        self
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// The answer is not what the script of this version says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an answer of the script cannot be read")]
pub(super) struct Malformed;

/// Reads an answer from left to right. Never trusts a length.
#[derive(Clone, Debug)]
pub(super) struct Reader(Bytes);

type Read<T> = Result<T, Malformed>;

impl Reader {
    pub(super) fn new(bytes: Bytes) -> Self {
        Reader(bytes)
    }

    fn with<T>(&mut self, read: impl FnOnce(&mut &[u8]) -> Option<T>) -> Read<T> {
        let mut rest = &self.0[..];
        let value = read(&mut rest).ok_or(Malformed)?;
        let taken = self.0.len() - rest.len();
        let _ = self.0.split_to(taken);
        Ok(value)
    }

    pub(super) fn list(&mut self) -> Read<usize> {
        self.with(|rest| rmp::decode::read_array_len(rest).ok()).map(|length| length as usize)
    }

    pub(super) fn int(&mut self) -> Read<i64> {
        self.with(|rest| rmp::decode::read_int(rest).ok())
    }

    pub(super) fn count(&mut self) -> Read<u64> {
        Ok(u64::try_from(self.int()?).unwrap_or_default())
    }

    pub(super) fn bool(&mut self) -> Read<bool> {
        self.with(|rest| rmp::decode::read_bool(rest).ok())
    }

    pub(super) fn bytes(&mut self) -> Read<Bytes> {
        let length = self.with(|rest| rmp::decode::read_str_len(rest).ok())? as usize;
        if length > self.0.len() {
            return Err(Malformed);
        }
        Ok(self.0.split_to(length))
    }

    pub(super) fn text(&mut self) -> Read<String> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| Malformed)
    }

    /// A number, or `false` where there is none.
    pub(super) fn optional(&mut self) -> Read<Option<i64>> {
        match self.0.first().map(|first| Marker::from_u8(*first)) {
            Some(Marker::False) => self.bool().map(|_| None),
            _ => self.int().map(Some),
        }
    }

    /// Whole dollars, then nanos.
    pub(super) fn money(&mut self) -> Read<Money> {
        Ok(Money::nanos(join(self.int()?, self.int()?)))
    }

    /// Whether a list is next.
    pub(super) fn is_list(&self) -> bool {
        let next = self.0.first().map(|first| Marker::from_u8(*first));
        matches!(next, Some(Marker::FixArray(_) | Marker::Array16 | Marker::Array32))
    }

    /// The next so many values, to be read by somebody else.
    pub(super) fn values(&mut self, count: usize) -> Read<Reader> {
        let mut after = Reader(self.0.clone());
        for _ in 0..count {
            after.skip(0)?;
        }
        let length = self.0.len() - after.0.len();
        Ok(Reader(self.0.split_to(length)))
    }

    /// The next value, whatever it is, to be read by somebody else.
    pub(super) fn value(&mut self) -> Read<Reader> {
        self.values(1)
    }

    fn skip(&mut self, depth: usize) -> Read<()> {
        match self.0.first().map(|first| Marker::from_u8(*first)) {
            None => Err(Malformed),
            Some(Marker::FixArray(_) | Marker::Array16 | Marker::Array32) if depth < 8 => {
                for _ in 0..self.list()? {
                    self.skip(depth + 1)?;
                }
                Ok(())
            }
            Some(Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32) => self.bytes().map(drop),
            Some(Marker::True | Marker::False) => self.bool().map(drop),
            Some(_) => self.int().map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_split_and_joined_without_loss() {
        for nanos in [0, 1, -1, GIGA, -GIGA, 9_007_199_254_740_993, i64::MAX, i64::MIN + GIGA] {
            let (dollars, rest) = split(nanos);
            assert!((0..GIGA).contains(&rest));
            assert_eq!(join(dollars, rest), nanos);
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let mut writer = Writer::list(5);
        writer.int(-7).bytes([0xff, 0]).bool(false).array(1).count(u64::MAX).money(Money::nanos(-1));
        let bytes = Bytes::from(writer.take());
        let mut reader = Reader::new(bytes.clone());
        assert!(reader.is_list());
        assert_eq!(reader.clone().value().unwrap().0.len(), bytes.len() - 5, "two numbers too many");
        assert_eq!((reader.list(), reader.is_list(), reader.int()), (Ok(5), false, Ok(-7)));
        assert_eq!(reader.clone().values(3).unwrap().0.len(), 14, "a text, a bool, a list of one");
        assert_eq!(reader.clone().values(9).map(|_| ()), Err(Malformed));
        assert_eq!(reader.bytes().unwrap().as_ref(), [0xff, 0]);
        assert_eq!(reader.optional(), Ok(None));
        assert_eq!((reader.list(), reader.optional()), (Ok(1), Ok(Some(EXACT))));
        assert_eq!(reader.money(), Ok(Money::nanos(-1)));
        assert_eq!(reader.int(), Err(Malformed));
        for cut in 0..bytes.len() - 5 {
            assert!(Reader::new(bytes.slice(..cut)).value().is_err());
        }
    }
}
