//! What is left of a list in header fields once an item is taken out.

/// What the upstream gets in place of the fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// All items but those taken out.
    Field(String),
    /// Nothing: there are no others, or they are not plain text.
    Nothing,
}

impl Rest {
    /// The items that stay, joined; `None` where none is taken out.
    pub(super) fn without<'a>(
        items: impl Iterator<Item = &'a [u8]> + Clone,
        separator: &[u8],
        is_taken: impl Fn(&[u8]) -> bool,
    ) -> Option<Rest> {
        if !items.clone().any(&is_taken) {
            return None;
        }
        let rest = items.filter(|item| !item.is_empty() && !is_taken(item)).collect::<Vec<_>>().join(separator);
        match String::from_utf8(rest) {
            Ok(rest) if !rest.is_empty() && !rest.chars().any(char::is_control) => Some(Rest::Field(rest)),
            _ => Some(Rest::Nothing),
        }
    }
}
