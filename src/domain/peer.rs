//! Patterns over the principal of a peer (`source.principal`: a SPIFFE ID, another name of its certificate, or its
//! subject), and texts that take over what the pattern's stars stand for.
//!
//! `*` stands for one character or more of one path segment, `**` also crosses `/`; all else is literal. Each stands for
//! as little as makes the whole fit.

use smallvec::SmallVec;

/// What the stars of a pattern stand for, first to last.
pub type Captures<'t> = SmallVec<[&'t str; 4]>;

/// Stars a pattern may have.
const MOST_STARS: usize = 8;
/// Longer principals, in bytes, fit no pattern.
const LONGEST: usize = 1024;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPattern {
    head: String,
    /// Each star with the literal text behind it.
    rest: Vec<(Star, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Star {
    /// Within one segment.
    Segment,
    /// Over any number of them.
    Path,
}

/// Why a text is no pattern, or no text for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    #[error("must be a principal as spiffe://cluster.local/ns/default/sa/agent, with * or ** where it may differ")]
    Empty,
    #[error("must have some other text between two stars, and at most {MOST_STARS} of them")]
    Stars,
    #[error("fits every peer; write what its principal begins with")]
    Anyone,
    #[error("may hold braces only as {{1}}, which stands for the first * of the principal")]
    Braces,
    #[error("names a star that the principal does not have")]
    NoSuchStar,
}

impl PeerPattern {
    /// Reads a pattern. One that fits every principal is refused: a place for it would be a mistake.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        if text.trim() != text || text.is_empty() || text.len() > LONGEST {
            return Err(BadPattern::Empty);
        }
        let (head, mut left) = text.split_at(text.find('*').unwrap_or(text.len()));
        let mut rest = Vec::new();
        while let Some(behind) = left.strip_prefix('*') {
            let (star, behind) = match behind.strip_prefix('*') {
                Some(behind) => (Star::Path, behind),
                None => (Star::Segment, behind),
            };
            let (literal, more) = behind.split_at(behind.find('*').unwrap_or(behind.len()));
            if (literal.is_empty() && !more.is_empty()) || rest.len() == MOST_STARS {
                return Err(BadPattern::Stars);
            }
            rest.push((star, literal.to_owned()));
            left = more;
        }
        let literal = head.chars().chain(rest.iter().flat_map(|(_, literal)| literal.chars()));
        if !literal.into_iter().any(char::is_alphanumeric) {
            return Err(BadPattern::Anyone);
        }
        Ok(PeerPattern { head: head.to_owned(), rest })
    }

    #[must_use]
    pub fn stars(&self) -> usize {
        self.rest.len()
    }

    #[must_use]
    pub fn fits(&self, principal: &str) -> bool {
        self.captures(principal).is_some()
    }

    /// What each star stands for, where the pattern fits the whole principal.
    #[must_use]
    pub fn captures<'t>(&self, principal: &'t str) -> Option<Captures<'t>> {
        if principal.len() > LONGEST {
            return None;
        }
        let left = principal.strip_prefix(self.head.as_str())?;
        if self.rest.is_empty() {
            return left.is_empty().then(Captures::new);
        }
        let mut attempt = Attempt { rest: &self.rest, text: left, found: Captures::new(), failed: Vec::new() };
        attempt.from(0, 0).then_some(attempt.found)
    }
}

/// One attempt to fit what is behind the head.
struct Attempt<'p, 't> {
    rest: &'p [(Star, String)],
    text: &'t str,
    found: Captures<'t>,
    /// Which star did not fit from which place; so that none is tried from one place twice.
    failed: Vec<bool>,
}

impl Attempt<'_, '_> {
    /// Whether the stars from this one on fit the text from this place on.
    fn from(&mut self, star: usize, at: usize) -> bool {
        let memo = star * (self.text.len() + 1) + at;
        if self.failed.get(memo) == Some(&true) {
            return false;
        }
        if self.try_from(star, at) {
            return true;
        }
        self.failed.resize(self.rest.len() * (self.text.len() + 1), false);
        self.failed[memo] = true;
        false
    }

    fn try_from(&mut self, star: usize, at: usize) -> bool {
        let Some((kind, literal)) = self.rest.get(star) else { return false };
        let (text, literal) = (&self.text[at..], literal.as_str());
        let may_be = |part: &str| !part.is_empty() && (*kind == Star::Path || !part.contains('/'));
        if star + 1 == self.rest.len() {
            return match text.strip_suffix(literal).filter(|part| may_be(part)) {
                Some(part) => {
                    self.found.push(part);
                    true
                }
                None => false,
            };
        }
        let Some(first) = text.chars().next() else { return false };
        let mut from = first.len_utf8();
        while let Some(end) = text[from..].find(literal).map(|found| from + found) {
            if !may_be(&text[..end]) {
                return false;
            }
            self.found.push(&text[..end]);
            if self.from(star + 1, at + end + literal.len()) {
                return true;
            }
            self.found.pop();
            from = end + text[end..].chars().next().map_or(1, char::len_utf8);
        }
        false
    }
}

/// A text in which `{1}` stands for what the first star of a pattern stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerText {
    head: String,
    /// Each star, counted from 0, with the literal text behind it.
    rest: Vec<(usize, String)>,
}

impl PeerText {
    /// Reads a text for a pattern with so many stars.
    pub fn parse(text: &str, stars: usize) -> Result<Self, BadPattern> {
        let mut parts = text.split('{');
        let head = parts.next().unwrap_or_default();
        let mut rest = Vec::new();
        for part in parts {
            let (number, literal) = part.split_once('}').ok_or(BadPattern::Braces)?;
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.parse::<usize>().ok().filter(|_| is_number).ok_or(BadPattern::Braces)?;
            let index = number.checked_sub(1).filter(|index| *index < stars).ok_or(BadPattern::NoSuchStar)?;
            rest.push((index, literal.to_owned()));
        }
        if head.contains('}') || rest.iter().any(|(_, literal)| literal.contains('}')) {
            return Err(BadPattern::Braces);
        }
        Ok(PeerText { head: head.to_owned(), rest })
    }

    /// The text with what the stars stand for.
    #[must_use]
    pub fn with(&self, captures: &Captures<'_>) -> String {
        let mut text = self.head.clone();
        for (star, literal) in &self.rest {
            text.push_str(captures.get(*star).copied().unwrap_or_default());
            text.push_str(literal);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stays_in_its_segment_and_two_cross_segments() {
        let agent = "spiffe://cluster.local/ns/prod/sa/agent-7";
        #[rustfmt::skip]
        let cases: [(&str, &str, Option<&[&str]>); 16] = [
            ("spiffe://cluster.local/ns/prod/sa/agent-7", agent, Some(&[])),
            ("spiffe://cluster.local/ns/prod/sa/agent", agent, None),
            ("spiffe://cluster.local/ns/*/sa/agent-*", agent, Some(&["prod", "7"])),
            ("spiffe://cluster.local/ns/*/sa/agent-*", "spiffe://cluster.local/ns/prod/sa/agent-7/x", None),
            ("spiffe://cluster.local/ns/*/sa/agent-*", "spiffe://cluster.local/ns/a/b/sa/agent-7", None),
            ("spiffe://cluster.local/ns/*/sa/agent-*", "spiffe://cluster.local/ns//sa/agent-7", None),
            ("spiffe://cluster.local/ns/*/sa/agent-*", "spiffe://cluster.local/ns/prod/sa/agent-", None),
            ("spiffe://cluster.local/ns/*/sa/agent-*", "xspiffe://cluster.local/ns/prod/sa/agent-7", None),
            ("spiffe://cluster.local/**", agent, Some(&["ns/prod/sa/agent-7"])),
            ("spiffe://**/sa/*", agent, Some(&["cluster.local/ns/prod", "agent-7"])),
            ("spiffe://cluster.local/**", "spiffe://cluster.local/", None),
            ("spiffe://cluster.local/*", agent, None),
            ("CN=*,O=acme", "CN=ada,O=acme", Some(&["ada"])),
            ("*.agents.test", "a.b.agents.test", Some(&["a.b"])),
            ("a-*-*-z", "a-1-2-3-z", Some(&["1", "2-3"])),
            ("é*é*", "éaééé", Some(&["a", "éé"])),
        ];
        for (pattern, principal, expected) in cases {
            let found = PeerPattern::parse(pattern).unwrap().captures(principal);
            assert_eq!(found.as_deref(), expected, "{pattern} on {principal}");
        }
        let longest = format!("spiffe://{}", "a".repeat(LONGEST));
        assert!(!PeerPattern::parse("spiffe://*").unwrap().fits(&longest));
    }

    #[test]
    fn patterns_and_texts_that_cannot_be_meant_are_refused() {
        for (pattern, expected) in [
            ("", BadPattern::Empty),
            (" a", BadPattern::Empty),
            ("a***", BadPattern::Stars),
            ("a****b", BadPattern::Stars),
            ("a*b*c*d*e*f*g*h*i*j", BadPattern::Stars),
            ("*", BadPattern::Anyone),
            ("**", BadPattern::Anyone),
            ("*://**", BadPattern::Anyone),
        ] {
            assert_eq!(PeerPattern::parse(pattern), Err(expected), "{pattern}");
        }
        for (text, expected) in [
            ("{2}", BadPattern::NoSuchStar),
            ("{0}", BadPattern::NoSuchStar),
            ("{}", BadPattern::Braces),
            ("{+1}", BadPattern::Braces),
            ("{1", BadPattern::Braces),
            ("1}", BadPattern::Braces),
            ("{1}}", BadPattern::Braces),
            ("{99999999999999999999999}", BadPattern::Braces),
        ] {
            assert_eq!(PeerText::parse(text, 1), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_text_takes_over_what_the_stars_stand_for() {
        let pattern = PeerPattern::parse("spiffe://c/ns/*/sa/*").unwrap();
        let captures = pattern.captures("spiffe://c/ns/prod/sa/{1}").unwrap();
        for (text, expected) in [("{2}", "{1}"), ("{2}@{1}.test", "{1}@prod.test"), ("plain", "plain")] {
            assert_eq!(PeerText::parse(text, pattern.stars()).unwrap().with(&captures), expected, "{text}");
        }
    }

    proptest! {
        /// What the stars stand for, put in their places, is the principal again.
        #[test]
        fn captures_make_up_the_whole(
            pattern in "[ab/]{0,3}(\\*{1,2}[ab/]{1,2}){0,4}\\*?",
            principal in "[ab/é]{0,24}",
        ) {
            let Ok(read) = PeerPattern::parse(&pattern) else { return Ok(()) };
            if let Some(captures) = read.captures(&principal) {
                let mut whole = read.head.clone();
                for ((star, literal), part) in read.rest.iter().zip(&captures) {
                    prop_assert!(!part.is_empty() && (*star == Star::Path || !part.contains('/')));
                    whole.push_str(part);
                    whole.push_str(literal);
                }
                prop_assert_eq!(captures.len(), read.stars());
                prop_assert_eq!(&whole, &principal);
            }
        }
    }
}
