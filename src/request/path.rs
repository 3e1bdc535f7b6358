//! The one reading of a path: percent-encodings resolved once, dot segments and repeated slashes resolved, a slash at
//! the end dropped. A path that servers read differently (an encoded slash, a backslash, a semicolon, `//..`) is refused.

use std::borrow::Cow;

use super::query::percent_decode;

/// Splits `:path` into its path, normalised, and its query.
///
/// # Errors
/// What is wrong with the path, for the client to read.
pub fn normalise(path_and_query: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    if path == "*" {
        return Ok((Cow::Borrowed(path), query));
    }
    if !path.starts_with('/') {
        return Err("it does not begin with a slash");
    }
    let bytes = path.as_bytes();
    if bytes.iter().any(|byte| matches!(byte, b'\\' | b'#' | 0..=0x20 | 0x7f)) {
        return Err("it holds a backslash, a number sign, a space or a control character");
    }
    for at in memchr::memchr_iter(b'%', bytes) {
        match bytes.get(at + 1..at + 3) {
            Some(code) if code.eq_ignore_ascii_case(b"2f") => return Err("it holds an encoded slash"),
            Some(code) if code.eq_ignore_ascii_case(b"5c") => return Err("it holds an encoded backslash"),
            _ => {}
        }
    }
    let decoded = percent_decode(path).ok_or("its percent-encoding is broken or not UTF-8")?;
    if decoded.chars().any(char::is_control) {
        return Err("it holds an encoded control character");
    }
    // Behind it stand parameters of a segment (RFC 3986, section 3.3), which some servers drop before they look at the
    // path, and `..;` is then `..`; no API of models has them.
    if decoded.contains(';') {
        return Err("it holds a semicolon");
    }
    if !decoded.contains("//") && !decoded.contains("/.") && (decoded.len() == 1 || !decoded.ends_with('/')) {
        return Ok((decoded, query));
    }
    let mut segments: Vec<&str> = Vec::new();
    let mut after_empty = false;
    for segment in decoded.split('/').skip(1) {
        match segment {
            // Whether an empty segment is one that `..` takes back is read both ways.
            ".." if after_empty => return Err("it holds `//..`"),
            ".." => {
                segments.pop();
            }
            "" | "." => {}
            _ => segments.push(segment),
        }
        after_empty = segment.is_empty();
    }
    Ok((Cow::Owned(format!("/{}", segments.join("/"))), query))
}

/// A normalised path without the root it stands below; one that stands elsewhere stays as it is.
pub fn without<'p>(root: &str, path: &'p str) -> &'p str {
    match path.strip_prefix(root) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

/// A path as people may see it: without the keys that stand in it, as in `/key/sk-…/regenerate`.
#[must_use]
pub fn without_keys(path: &str) -> Cow<'_, str> {
    let is_key = |segment: &&str| {
        let start = segment.get(..segment.floor_char_boundary(5)).unwrap_or(segment).to_ascii_lowercase();
        start.starts_with("sk-") || start.starts_with("sk%2d")
    };
    if !path.split('/').any(|segment| is_key(&segment)) {
        return Cow::Borrowed(path);
    }
    let segments = path.split('/').map(|segment| if is_key(&segment) { "sk-…" } else { segment });
    Cow::Owned(segments.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_has_one_reading() {
        let cases = [
            ("/", Ok("/")),
            ("/v1/models", Ok("/v1/models")),
            ("/v1/models/", Ok("/v1/models")),
            ("//v1///models", Ok("/v1/models")),
            ("/v1/./models/.", Ok("/v1/models")),
            ("/a/../v1/models", Ok("/v1/models")),
            ("/a/%2e%2e/v1/models", Ok("/v1/models")),
            ("/../../v1", Ok("/v1")),
            ("/v1/..", Ok("/")),
            ("/v1/mod%65ls", Ok("/v1/models")),
            ("/v1/a%252fb", Ok("/v1/a%2fb")),
            ("/v1/.hidden/...", Ok("/v1/.hidden/...")),
            ("*", Ok("*")),
            ("/a//../b", Err(())),
            ("/v1%2fmodels", Err(())),
            ("/v1%5Cmodels", Err(())),
            ("/v1\\models", Err(())),
            ("/v1/%00", Err(())),
            ("/v1/%0a", Err(())),
            ("/v1/%ff", Err(())),
            ("/v1/%4", Err(())),
            ("/v1/a b", Err(())),
            ("/v1/models;x=1", Err(())),
            ("/v1/models%3bx", Err(())),
            ("/open/..;/key/generate", Err(())),
            ("/open/.;/key/generate", Err(())),
            ("/open/%2e%2e;x/key/generate", Err(())),
            ("/v1/models?a=;", Ok("/v1/models")),
            ("/v1#x", Err(())),
            ("", Err(())),
            ("v1/models", Err(())),
            ("http://host/v1", Err(())),
        ];
        for (path, expected) in cases {
            let found = normalise(path).map(|(path, _)| path.into_owned()).map_err(|_| ());
            assert_eq!(found, expected.map(str::to_owned), "{path}");
        }
    }

    #[test]
    fn a_path_below_the_root_is_read_without_it() {
        let cases = [
            ("", "/v1/models", "/v1/models"),
            ("", "*", "*"),
            ("/genai", "/genai/v1/models", "/v1/models"),
            ("/genai", "/genai", "/"),
            ("/genai", "/genai/genai/v1", "/genai/v1"),
            ("/genai", "/genaix/v1", "/genaix/v1"),
            ("/genai", "/v1/models", "/v1/models"),
            ("/a/b", "/a/b/v1", "/v1"),
            ("/a/b", "/a/v1", "/a/v1"),
        ];
        for (root, path, expected) in cases {
            assert_eq!(without(root, path), expected, "{path} below {root}");
        }
    }

    #[test]
    fn people_see_no_key_of_a_path() {
        for (path, expected) in [
            ("/key/sk-secret/regenerate", "/key/sk-…/regenerate"),
            ("/key/SK%2Dsecret", "/key/sk-…"),
            ("/key/sk-é", "/key/sk-…"),
            ("/v1/skate", "/v1/skate"),
            ("", ""),
        ] {
            assert_eq!(without_keys(path), expected, "{path}");
        }
    }

    #[test]
    fn the_query_is_left_as_it_is() {
        assert_eq!(normalise("/a?b=%2F?c#d").unwrap(), (Cow::Borrowed("/a"), "b=%2F?c#d"));
    }

    proptest! {
        #[test]
        fn a_normal_path_stays_as_it_is(path in "(/[a-z.%/]{0,12}){1,4}") {
            if let Ok((once, _)) = normalise(&path) && !once.contains('%') {
                let (twice, _) = normalise(&once).unwrap();
                prop_assert_eq!(&once, &twice);
                prop_assert!(!once.contains("//") && !once.split('/').any(|segment| segment == ".." || segment == "."));
            }
        }
    }
}
