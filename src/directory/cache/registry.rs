//! Tags and access groups by name: few enough to be kept whole, so that naming one in a request costs no query.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{AccessGroup, Tag};

/// All tags and access groups, with the limits of their budget rows.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    tags: HashMap<Arc<str>, Tag>,
    groups: Vec<AccessGroup>,
    /// Where a group stands, by its id and by its name; an id goes before another group's equal name.
    by_name: HashMap<Arc<str>, usize>,
}

impl Registry {
    #[must_use]
    pub fn new(tags: Vec<Tag>, groups: Vec<AccessGroup>) -> Self {
        let mut by_name = HashMap::with_capacity(groups.len() * 2);
        for (place, group) in groups.iter().enumerate() {
            by_name.insert(Arc::clone(&group.access_group_name), place);
        }
        for (place, group) in groups.iter().enumerate() {
            by_name.insert(Arc::clone(&group.access_group_id), place);
        }
        let tags = tags.into_iter().map(|tag| (Arc::clone(&tag.tag_name), tag)).collect();
        Registry { tags, groups, by_name }
    }

    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&Tag> {
        self.tags.get(name)
    }

    /// An access group by its id or its name.
    #[must_use]
    pub fn access_group(&self, name: &str) -> Option<&AccessGroup> {
        self.by_name.get(name).and_then(|place| self.groups.get(*place))
    }

    pub fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.tags.values()
    }

    #[must_use]
    pub fn access_groups(&self) -> &[AccessGroup] {
        &self.groups
    }
}
