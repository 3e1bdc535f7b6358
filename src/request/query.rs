//! Percent-encoding (RFC 3986, section 2.1), the members of a query, and those of a form (WHATWG URL, section 5).

use std::borrow::Cow;

/// Resolves percent-encodings once. `None` where one is broken or the result is not UTF-8.
pub fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    let Some(first) = memchr::memchr(b'%', text.as_bytes()) else {
        return Some(Cow::Borrowed(text));
    };
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(text.as_bytes().get(..first)?);
    let mut bytes = text.as_bytes().get(first..)?.iter();
    while let Some(byte) = bytes.next() {
        if *byte == b'%' {
            let high = char::from(*bytes.next()?).to_digit(16)?;
            let low = char::from(*bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            out.push(*byte);
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// The members of a query, undecoded.
pub fn members(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|member| !member.is_empty()).map(|member| member.split_once('=').unwrap_or((member, "")))
}

/// The values of the members of this name, decoded; `None` for one that cannot be.
pub fn values<'q>(query: &'q str, name: &'q str) -> impl Iterator<Item = Option<Cow<'q, str>>> {
    members(query)
        .filter(move |(key, _)| percent_decode(key).is_some_and(|key| key == name))
        .map(|(_, value)| percent_decode(value))
}

/// A name or value of a form or of a query that follows its rules: `+` is a space.
pub fn form_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('+') {
        return percent_decode(text);
    }
    let spaced = text.replace('+', " ");
    percent_decode(&spaced).map(|text| Cow::Owned(text.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encodings_are_resolved_once_and_broken_ones_refused() {
        let cases = [
            ("plain", Some("plain")),
            ("a%20b", Some("a b")),
            ("%2525", Some("%25")),
            ("%e2%82%ac", Some("€")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%ff", None),
            ("%+1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(percent_decode(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn members_of_a_query_are_found_under_encoded_names_too() {
        let found: Vec<_> = values("a=1&k%65y=x%20y&key=&b", "key").flatten().collect();
        assert_eq!(found, ["x y", ""]);
    }
}
