//! The body of a hold token: numbers as LEB128 (signed ones zigzag), text with its length before it, and scopes and
//! periods, which repeat, written once and named by their place afterwards. What is the same for every hold of a binding
//! comes first, so that it is written once. Reading never trusts a length or a count.

use std::sync::Arc;

use crate::domain::{
    Account, Amounts, Api, Binding, CounterKey, Hold, HoldId, KeyHash, Kind, Limit, Money, Parties, Period, Scope,
    Timestamp, Window,
};

/// Elements a list reserves room for before it has seen them.
const RESERVED: u64 = 64;

/// Writes what all holds of a binding have in common. The length is a multiple of three, so that base64 of it is the
/// beginning of base64 of whatever begins with it.
pub(super) fn write_binding(binding: &Binding, out: &mut Vec<u8>) {
    let mut writer = Writer { out, scopes: Vec::with_capacity(16), periods: Vec::with_capacity(8) };
    writer.binding(binding);
    let padding = 2 - out.len() % 3;
    out.push(padding as u8);
    out.extend(std::iter::repeat_n(0, padding));
}

/// Writes what is a hold's own.
pub(super) fn write_hold(hold: &Hold, out: &mut Vec<u8>) {
    Writer { out, scopes: Vec::new(), periods: Vec::new() }.hold(hold);
}

/// `None` where the bytes are not a hold, the whole hold and nothing but it.
pub(super) fn read(bytes: &[u8]) -> Option<Hold> {
    let mut reader = Reader { rest: bytes, scopes: Vec::with_capacity(16), periods: Vec::with_capacity(8) };
    let hold = reader.hold()?;
    reader.rest.is_empty().then_some(hold)
}

const fn kind_code(kind: Kind) -> u8 {
    match kind {
        Kind::Requests => 0,
        Kind::Tokens => 1,
        Kind::InFlight => 2,
        Kind::Spend => 3,
    }
}

struct Writer<'h, 'o> {
    out: &'o mut Vec<u8>,
    scopes: Vec<&'h Scope>,
    periods: Vec<&'h Period>,
}

impl<'h> Writer<'h, '_> {
    fn binding(&mut self, binding: &'h Binding) {
        self.number(binding.limits().len() as u64);
        for limit in binding.limits() {
            self.counter(&limit.counter);
        }
        self.number(binding.accounts.len() as u64);
        for account in &binding.accounts {
            self.scope(&account.scope);
            self.period(&account.period);
        }
        self.parties(&binding.parties);
        self.text(&binding.model);
    }

    fn hold(&mut self, hold: &Hold) {
        self.out.extend_from_slice(hold.id.as_bytes());
        self.signed(hold.admitted_at.as_millis());
        for amount in &hold.amounts {
            self.signed(*amount);
        }
        self.text(hold.api.as_str());
        self.text(&hold.priced_as);
        self.text(&hold.price_version);
        self.number(hold.input_tokens);
        self.number(hold.input_characters);
        self.number(hold.output_tokens);
        self.signed(hold.estimate.as_nanos());
        self.out.push(u8::from(hold.bounded));
    }

    fn counter(&mut self, counter: &'h CounterKey) {
        let window = match &counter.window {
            Window::Minute => 0,
            Window::InFlight => 1,
            Window::Period(_) => 2,
        };
        self.out.push(kind_code(counter.kind) | window << 4);
        self.scope(&counter.scope);
        if let Window::Period(period) = &counter.window {
            self.period(period);
        }
    }

    fn parties(&mut self, parties: &'h Parties) {
        match &parties.key {
            Some(key) => {
                self.out.push(1);
                self.out.extend_from_slice(key.as_bytes());
            }
            None => self.out.push(0),
        }
        let Parties { key: _, user_id, team_id, organization_id, project_id, end_user_id, tags } = parties;
        for id in [user_id, team_id, organization_id, project_id, end_user_id] {
            match id {
                Some(id) => {
                    self.out.push(1);
                    self.text(id);
                }
                None => self.out.push(0),
            }
        }
        self.number(tags.len() as u64);
        for tag in tags {
            self.text(tag);
        }
    }

    /// Zero and the text, or the place (from one) of the same scope before.
    fn scope(&mut self, scope: &'h Scope) {
        let known = |other: &&Scope| std::ptr::eq(other.as_str(), scope.as_str()) || *other == scope;
        if let Some(at) = self.scopes.iter().position(known) {
            return self.number(at as u64 + 1);
        }
        self.number(0);
        self.text(scope.as_str());
        self.scopes.push(scope);
    }

    fn period(&mut self, period: &'h Period) {
        if let Some(at) = self.periods.iter().position(|other| *other == period) {
            return self.number(at as u64 + 1);
        }
        self.number(0);
        self.text(&period.id);
        self.signed(period.start.as_millis());
        self.signed(period.end.as_millis());
        self.periods.push(period);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn signed(&mut self, number: i64) {
        self.number((number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.out.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.out.push(number as u8);
    }
}

struct Reader<'b> {
    rest: &'b [u8],
    scopes: Vec<Scope>,
    periods: Vec<Period>,
}

impl<'b> Reader<'b> {
    fn hold(&mut self) -> Option<Hold> {
        let binding = self.binding()?;
        let [padding] = self.array()?;
        (0..padding).try_for_each(|_| self.array::<1>().map(drop))?;
        Some(Hold {
            id: HoldId::new(self.array()?),
            admitted_at: Timestamp::millis(self.signed()?),
            amounts: (0..binding.limits().len()).map(|_| self.signed()).collect::<Option<Amounts>>()?,
            binding: Arc::new(binding),
            api: Api::parse(self.text()?)?,
            priced_as: self.shared_text()?,
            price_version: self.shared_text()?,
            input_tokens: self.number()?,
            input_characters: self.number()?,
            output_tokens: self.number()?,
            estimate: Money::nanos(self.signed()?),
            bounded: self.flag()?,
        })
    }

    fn binding(&mut self) -> Option<Binding> {
        let limits = self.list(Reader::limit)?;
        let accounts = self.list(|reader| Some(Account { scope: reader.scope()?, period: reader.period()? }))?;
        let parties = self.parties()?;
        Some(Binding::new(limits, accounts, parties, self.shared_text()?))
    }

    fn limit(&mut self) -> Option<Limit> {
        let [code] = self.array()?;
        let kinds = [Kind::Requests, Kind::Tokens, Kind::InFlight, Kind::Spend];
        let kind = kinds.into_iter().find(|kind| kind_code(*kind) == code & 0xf)?;
        let scope = self.scope()?;
        let window = match code >> 4 {
            0 => Window::Minute,
            1 => Window::InFlight,
            2 => Window::Period(self.period()?),
            _ => return None,
        };
        Some(Limit { counter: CounterKey { scope, kind, window }, limit: 0, soft_limit: None })
    }

    fn parties(&mut self) -> Option<Parties> {
        let key = if self.flag()? { Some(KeyHash::new(self.array()?)) } else { None };
        Some(Parties {
            key,
            user_id: self.optional_text()?,
            team_id: self.optional_text()?,
            organization_id: self.optional_text()?,
            project_id: self.optional_text()?,
            end_user_id: self.optional_text()?,
            tags: self.list(Reader::shared_text)?,
        })
    }

    fn scope(&mut self) -> Option<Scope> {
        match self.number()?.checked_sub(1) {
            Some(at) => self.scopes.get(usize::try_from(at).ok()?).cloned(),
            None => {
                let scope = Scope::parse(self.text()?)?;
                self.scopes.push(scope.clone());
                Some(scope)
            }
        }
    }

    fn period(&mut self) -> Option<Period> {
        match self.number()?.checked_sub(1) {
            Some(at) => self.periods.get(usize::try_from(at).ok()?).cloned(),
            None => {
                let id = self.shared_text()?;
                let (start, end) = (Timestamp::millis(self.signed()?), Timestamp::millis(self.signed()?));
                let period = Period { id, start, end };
                self.periods.push(period.clone());
                Some(period)
            }
        }
    }

    fn list<T>(&mut self, element: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()?;
        let mut list = Vec::with_capacity(count.min(RESERVED) as usize);
        for _ in 0..count {
            list.push(element(self)?);
        }
        Some(list)
    }

    fn optional_text(&mut self) -> Option<Option<Arc<str>>> {
        if self.flag()? { self.shared_text().map(Some) } else { Some(None) }
    }

    fn shared_text(&mut self) -> Option<Arc<str>> {
        self.text().map(Arc::from)
    }

    fn text(&mut self) -> Option<&'b str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        std::str::from_utf8(text).ok()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.array()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*array)
    }
}
