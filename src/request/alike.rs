//! Names that some servers take for one another: CGI and its heirs read `_` as `-`.

/// Whether two names of headers are one to such a server.
#[must_use]
pub fn is_alike(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().map(plain).eq(other.bytes().map(plain))
}

/// Whether a name begins with this to such a server.
#[must_use]
pub fn begins_alike(start: &str, name: &str) -> bool {
    name.len() >= start.len() && start.bytes().map(plain).eq(name.bytes().take(start.len()).map(plain))
}

fn plain(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_underscore_is_a_dash() {
        for (one, other, alike, begins) in [
            ("x-user", "x-user", true, true),
            ("x-user", "X_User", true, true),
            ("x-user", "x_user-id", false, true),
            ("x-user", "xuser", false, false),
            ("x-user", "x", false, false),
            ("x-user", "x-üser", false, false),
        ] {
            assert_eq!((is_alike(one, other), begins_alike(one, other)), (alike, begins), "{one} {other}");
        }
    }
}
