//! Fields: names with values, in order. The values stand in one buffer, so that a list of them costs two allocations.

use std::borrow::Cow;

/// See the module. Debugging shows the names alone: a value may be a provider's key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// Each name, and where its value ends; it begins where the one before ends.
    names: Vec<(Cow<'static, str>, usize)>,
    values: String,
}

impl Fields {
    /// Room for so many fields, and for so many bytes of values.
    #[must_use]
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Fields { names: Vec::with_capacity(fields), values: String::with_capacity(bytes) }
    }

    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: &str) {
        self.push_with(name, |out| out.push_str(value));
    }

    /// Adds a field whose value is appended by `write`.
    pub fn push_with(&mut self, name: impl Into<Cow<'static, str>>, write: impl FnOnce(&mut String)) {
        write(&mut self.values);
        self.names.push((name.into(), self.values.len()));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let mut start = 0;
        self.names.iter().map(move |(name, end)| {
            let value = self.values.get(start..*end).unwrap_or_default();
            start = *end;
            (&**name, value)
        })
    }

    /// All values, one after another.
    #[must_use]
    pub fn values(&self) -> &str {
        &self.values
    }

    /// Whether there is a field of this name, in whatever letter case.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names.iter().map(|(name, _)| name)).finish()
    }
}

impl<N: Into<Cow<'static, str>>, V: AsRef<str>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(list: I) -> Self {
        let mut fields = Fields::default();
        for (name, value) in list {
            fields.push(name, value.as_ref());
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_in_order_and_empty_ones_stay() {
        let list = [("a", "1"), ("b", ""), ("a", "üx")];
        let fields: Fields = list.into_iter().collect();
        assert!(fields.iter().eq(list));
        assert!(fields.has("B") && !fields.has("c"));
        assert!(Fields::default().is_empty());
        let secret: Fields = [("authorization", "Bearer sk-provider")].into_iter().collect();
        assert_eq!(format!("{secret:?}"), r#"["authorization"]"#);
    }
}
