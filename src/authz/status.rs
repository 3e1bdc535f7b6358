//! Is the caller still in good standing? Asked of everyone on every request, before any role is looked at, also on a
//! cache hit: an administrator whose key was blocked is refused like anyone.

use crate::domain::{AccessGroup, Caller, Denial, EndUser, ErrorType, Tag, Timestamp};

/// Something is named that is not there, and its limits with it.
const DANGLING: &str = "status.dangling";

/// Refuses a key that is blocked, expired or refers to something gone, a blocked team or project, and a deactivated
/// user. All of these are 401: the credential no longer stands for a caller.
pub fn status(caller: &Caller, now: Timestamp) -> Result<(), Denial> {
    let identity = &caller.identity;
    let refuse = |reason, message: &str| Err(Denial::new(ErrorType::AuthError, reason, message).param("key"));
    if let Some(key) = &identity.key {
        if key.blocked {
            return refuse(
                "status.key_blocked",
                "this key is blocked; ask its owner or an administrator to unblock it",
            );
        }
        if key.expires.is_some_and(|expires| now >= expires) {
            let message = "this key has expired; ask for a new one";
            return Err(Denial::new(ErrorType::ExpiredKey, "status.key_expired", message).param("key"));
        }
    }
    if identity.dangling.is_some() {
        let message = "this key belongs to something that no longer exists; an administrator must mend or replace it";
        return refuse(DANGLING, message);
    }
    if identity.team.as_ref().is_some_and(|team| team.blocked) {
        return refuse("status.team_blocked", "the team of this key is blocked; ask an administrator to unblock it");
    }
    if identity.project.as_ref().is_some_and(|project| project.blocked) {
        return refuse(
            "status.project_blocked",
            "the project of this key is blocked; ask an administrator to unblock it",
        );
    }
    if identity.user.as_ref().is_some_and(|user| !user.is_active()) {
        return refuse("status.user_deactivated", "the user of this key is deactivated");
    }
    Ok(())
}

/// Refuses requests on behalf of an end user that is blocked, or whose limits are gone. This is 403: the credential is
/// good, what it is used for is not.
pub fn end_user_status(end_user: &EndUser) -> Result<(), Denial> {
    let (reason, message) = if end_user.blocked {
        ("status.end_user_blocked", "the end user of this request is blocked")
    } else if end_user.dangling.is_some() {
        let message = "the end user of this request has a budget that no longer exists, or a name that cannot be \
                       booked; an administrator must mend or replace it";
        (DANGLING, message)
    } else {
        return Ok(());
    };
    Err(Denial { status: 403, ..Denial::new(ErrorType::AuthError, reason, message).param("user") })
}

/// Refuses requests under a tag or an access group whose limits are gone: 403 as well.
pub fn limits_status<'r>(
    mut tags: impl Iterator<Item = &'r Tag>,
    mut groups: impl Iterator<Item = &'r AccessGroup>,
) -> Result<(), Denial> {
    let (what, param) = if tags.any(|tag| tag.dangling.is_some()) {
        ("a tag of this request", "tags")
    } else if groups.any(|group| group.dangling.is_some()) {
        ("an access group of this model", "model")
    } else {
        return Ok(());
    };
    let message = format!("{what} has a budget that no longer exists; an administrator must mend or replace it");
    Err(Denial { status: 403, ..Denial::new(ErrorType::AuthError, DANGLING, message).param(param) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::domain::{AuthMethod, Identity, Key, KeyHash, Role};

    const NOW: Timestamp = Timestamp::millis(1_000_000);

    fn standing(role: Role, change: impl FnOnce(&mut Identity)) -> Result<(), Denial> {
        let mut identity = Identity {
            key: Some(Key::new(KeyHash::of("sk-1"), Timestamp::millis(0))),
            user: Some(Arc::default()),
            team: Some(Arc::default()),
            project: Some(Arc::default()),
            ..Identity::default()
        };
        change(&mut identity);
        status(&Caller::new(AuthMethod::VirtualKey, role, Arc::new(identity)), NOW)
    }

    #[test]
    fn whoever_lost_standing_is_refused_whatever_the_role() {
        type Change = fn(&mut Identity);
        let cases: [(&str, Change, ErrorType); 6] = [
            ("status.key_blocked", |i| i.key.as_mut().unwrap().blocked = true, ErrorType::AuthError),
            ("status.key_expired", |i| i.key.as_mut().unwrap().expires = Some(NOW), ErrorType::ExpiredKey),
            ("status.dangling", |i| i.dangling = Some("team t".to_owned()), ErrorType::AuthError),
            ("status.team_blocked", |i| Arc::make_mut(i.team.as_mut().unwrap()).blocked = true, ErrorType::AuthError),
            (
                "status.project_blocked",
                |i| Arc::make_mut(i.project.as_mut().unwrap()).blocked = true,
                ErrorType::AuthError,
            ),
            (
                "status.user_deactivated",
                |i| {
                    Arc::make_mut(i.user.as_mut().unwrap()).metadata.insert("scim_active".to_owned(), json!(false));
                },
                ErrorType::AuthError,
            ),
        ];
        for role in Role::ALL {
            for (reason, change, kind) in cases {
                let denial = standing(role, change).unwrap_err();
                assert_eq!((denial.status, denial.kind, denial.reason.as_ref()), (401, kind, reason), "{role:?}");
            }
            assert!(standing(role, |_| ()).is_ok(), "{role:?}");
        }
    }

    #[test]
    fn a_key_is_good_until_the_millisecond_it_expires() {
        let expiring = |at| standing(Role::InternalUser, |i| i.key.as_mut().unwrap().expires = Some(at));
        assert!(expiring(NOW.plus_millis(1)).is_ok());
        assert!(expiring(NOW).is_err());
        assert!(expiring(NOW.plus_millis(-60_000)).is_err());
    }

    #[test]
    fn a_blocked_end_user_is_a_matter_of_policy_not_of_the_credential() {
        assert!(end_user_status(&EndUser::default()).is_ok());
        let denial = end_user_status(&EndUser { blocked: true, ..EndUser::default() }).unwrap_err();
        assert_eq!((denial.status, denial.kind), (403, ErrorType::AuthError));
    }

    #[test]
    fn limits_that_are_gone_do_not_fall_away() {
        let dangling = || Some("budget \"gone\"".to_owned());
        let end_user = end_user_status(&EndUser { dangling: dangling(), ..EndUser::default() });
        let tags = [Tag::default(), Tag { dangling: dangling(), ..Tag::default() }];
        let groups = [AccessGroup::default(), AccessGroup { dangling: dangling(), ..AccessGroup::default() }];
        let under = |tags: &[Tag], groups: &[AccessGroup]| limits_status(tags.iter(), groups.iter());
        assert!(under(&tags[..1], &groups[..1]).is_ok());
        for refused in [end_user, under(&tags, &groups[..1]), under(&tags[..1], &groups)] {
            let denial = refused.unwrap_err();
            assert_eq!((denial.status, denial.kind, &*denial.reason), (403, ErrorType::AuthError, DANGLING));
        }
    }
}
