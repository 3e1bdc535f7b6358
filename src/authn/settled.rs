//! Whom an assertion stands for, kept with it: a token that is shown again names the same user and team, and need not be
//! looked up for as long as the directory stands by what it said.
//!
//! It is kept from the second time on: an assertion that is made anew for each request, as of a proxy's headers, is never
//! asked again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use crate::directory::{AsOf, Directory};
use crate::domain::Caller;

/// See the module. It is no part of the assertion: a copy begins with nothing.
#[derive(Default)]
pub struct Settled {
    found: ArcSwapOption<Found>,
    /// Whether it was looked up before.
    again: AtomicBool,
}

struct Found {
    caller: Caller,
    as_of: AsOf,
    /// Who looked it up: the directory and the rules of another configuration may say otherwise.
    resolver: u64,
}

impl Settled {
    pub(super) fn get(&self, resolver: u64, directory: &Directory) -> Option<Caller> {
        let found = self.found.load();
        let found = found.as_ref().filter(|found| found.resolver == resolver && directory.still(found.as_of))?;
        Some(found.caller.clone())
    }

    pub(super) fn keep(&self, resolver: u64, caller: &Caller, as_of: AsOf) {
        if self.again.swap(true, Ordering::Relaxed) {
            self.found.store(Some(Arc::new(Found { caller: caller.clone(), as_of, resolver })));
        }
    }
}

impl Clone for Settled {
    fn clone(&self) -> Self {
        Settled::default()
    }
}

impl fmt::Debug for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settled")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::testing::House;
    use crate::config::Config;
    use crate::domain::{AuthMethod, Principal, Role};

    #[tokio::test]
    async fn who_is_known_is_not_looked_up_until_something_is_written_or_another_configuration_asks() {
        let config = Config::parse("general_settings: {master_key: sk-0123456789}", "t.yaml", &|_| None).unwrap().0;
        let house = Box::pin(House::of(config)).await;
        let directory = &house.directory;
        let principal = Principal { user_id: Some("ada".into()), ..Principal::default() };
        let identity = directory.principal(&principal).await.unwrap();
        let (_, as_of) = directory.principal_at_hand(&principal).unwrap();
        let caller = Caller::new(AuthMethod::Jwt, Role::InternalUser, identity);
        let settled = Settled::default();
        settled.keep(1, &caller, as_of);
        assert!(settled.get(1, directory).is_none(), "shown once");
        settled.keep(1, &caller, as_of);
        assert!(Arc::ptr_eq(&settled.get(1, directory).unwrap().identity, &caller.identity));
        assert!(settled.get(2, directory).is_none(), "another configuration");
        assert!(settled.clone().get(1, directory).is_none(), "another assertion");
        directory.invalidate();
        assert!(settled.get(1, directory).is_none(), "something was written");
        let (_, later) =
            (directory.principal(&principal).await.unwrap(), directory.principal_at_hand(&principal).unwrap().1);
        assert!(directory.still(later) && !directory.still(later.and(as_of)), "as old as the older of two");
    }
}
