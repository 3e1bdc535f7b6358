//! How long a name may be that a caller brings along and no row has to have: it becomes a scope, and the ledger's sums are
//! kept by scope.

/// Bytes of such a name as a scope writes it. An entry of PostgreSQL's index holds it with the names of two models beside it.
const MAX_NAME: usize = 1_600;

/// Whether the ledger can keep sums of such a name. Every id that management takes is short enough.
pub(super) fn is_bookable(name: &str) -> bool {
    let escaped = || name.len() + 2 * name.bytes().filter(|byte| matches!(byte, b':' | b'%')).count();
    name.len() <= MAX_NAME / 3 || escaped() <= MAX_NAME
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Scope, ScopeKind};

    #[test]
    fn a_name_is_as_long_as_its_scope_writes_it() {
        for (letter, most) in [("a", 1_600), (":", 533), ("%", 533), ("字", 533), ("😀", 400)] {
            let (fits, too_long) = (letter.repeat(most), letter.repeat(most + 1));
            assert!(is_bookable(&fits) && !is_bookable(&too_long), "{letter}");
            let scope = Scope::new(ScopeKind::EndUser, &[&fits]);
            assert!(scope.as_str().len() <= "end_user:".len() + MAX_NAME, "{letter}");
        }
        assert!(is_bookable(&"😀".repeat(255)), "the longest id that management takes");
    }
}
