use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::domain::{AuthMethod, Calendar, Caller, Key, KeyHash, Kind, Organization, Role, ScopeKind, Team, Timestamp};
use crate::quota::{Ask, AskModel, Periods, Plan, TokenHold};

const NOW: Timestamp = Timestamp::millis(1_000_000);

fn budget(nanos: Option<i64>) -> Limits {
    Limits { max_budget: nanos.map(Money::nanos), ..Limits::default() }
}

fn user(nanos: Option<i64>) -> Option<Arc<User>> {
    Some(Arc::new(User { user_id: "u".into(), limits: budget(nanos), ..User::default() }))
}

fn team(nanos: Option<i64>) -> Option<Arc<Team>> {
    Some(Arc::new(Team { team_id: "t".into(), limits: budget(nanos), ..Team::default() }))
}

fn member(nanos: Option<i64>) -> Option<Box<Member>> {
    let member = Member { limits: budget(nanos), ..member_without_row("t".into(), "u".into()) };
    Some(Box::new(member))
}

fn personal(nanos: Option<i64>) -> Arc<Identity> {
    Arc::new(Identity { user: user(nanos), ..Identity::default() })
}

fn granted(nanos: i64) -> Grant {
    Grant { max_budget: Some(Money::nanos(nanos)), ..Grant::default() }
}

/// The money limits that bind a caller: what the counters are asked, not what a struct says.
fn binding(identity: Arc<Identity>) -> Vec<(ScopeKind, i64)> {
    let caller = Caller::new(AuthMethod::TrustedProxy, Role::InternalUser, identity);
    let (registry, model): (_, Arc<str>) = (Arc::default(), "m".into());
    let ask = Ask {
        models: &[AskModel { names: ["m", "m"], groups: &[], default_limits: None }],
        model: &model,
        end_user: None,
        tags: &[],
        registry: &registry,
        tokens: TokenHold::default(),
        cost: Some(Money::nanos(1)),
    };
    let periods = Periods::new(Calendar::new("UTC", "00:00").unwrap());
    let bound = Plan::of(&caller, &Config::default(), NOW).bind(&caller, &ask, &periods, NOW);
    let money = bound.binding.limits().iter().filter(|limit| limit.counter.kind == Kind::Spend);
    money.map(|limit| (limit.counter.scope.kind(), limit.limit)).collect()
}

fn narrowed(identity: Identity, nanos: i64) -> Arc<Identity> {
    Narrowed::default().of(Arc::new(identity), Some(&granted(nanos)))
}

#[test]
fn a_grant_lowers_limits_and_never_lifts_them() {
    for (own, granted, expected) in [(Some(5), 3, 3), (Some(3), 5, 3), (None, 7, 7), (Some(5), 0, 0)] {
        let identity = Identity { user: user(own), ..Identity::default() };
        assert_eq!(binding(narrowed(identity, granted)), [(ScopeKind::User, expected)], "{own:?} {granted}");
    }
}

#[test]
fn for_a_team_the_lower_budget_binds_the_member_with_or_without_a_row() {
    let cases = [(member(Some(9)), 3, 3), (member(Some(2)), 3, 2), (member(None), 3, 3), (None, 3, 3)];
    for (member, granted, expected) in cases {
        let identity = Identity { user: user(Some(4)), team: team(None), member, ..Identity::default() };
        assert_eq!(binding(narrowed(identity, granted)), [(ScopeKind::Member, expected)]);
    }
}

#[test]
fn without_a_user_the_closest_to_the_caller_is_lowered() {
    let mut key = Key::new(KeyHash::of("sk-1"), NOW);
    let organization = || Some(Arc::new(Organization { organization_id: "o".into(), ..Organization::default() }));
    let keyless = Identity { team: team(Some(9)), organization: organization(), ..Identity::default() };
    assert_eq!(binding(narrowed(keyless.clone(), 3)), [(ScopeKind::Team, 3)]);
    key.team_id = Some("t".into());
    let keyed = Identity { key: Some(key.clone()), ..keyless };
    assert_eq!(binding(narrowed(keyed, 3)), [(ScopeKind::Team, 9), (ScopeKind::Key, 3)]);
    let alone = Identity { organization: organization(), ..Identity::default() };
    assert_eq!(binding(narrowed(alone, 3)), [(ScopeKind::Organization, 3)]);
    // The owner of a key need not have a row.
    key.user_id = Some("u".into());
    let owned = Identity { key: Some(key), team: team(None), ..Identity::default() };
    assert_eq!(binding(narrowed(owned, 3)), [(ScopeKind::Member, 3)]);
}

#[test]
fn a_budget_that_is_lowered_keeps_its_period_and_a_new_one_renews_with_the_users() {
    let (day, month) = ("1d".parse().unwrap(), "30d".parse().unwrap());
    let mut identity = Identity { user: user(Some(9)), team: team(None), ..Identity::default() };
    Arc::make_mut(identity.user.as_mut().unwrap()).limits.budget_duration = Some(month);
    let duration = |identity: Identity| narrowed(identity, 3).member.as_ref().unwrap().limits.budget_duration;
    assert_eq!(duration(identity.clone()), Some(month));
    identity.member = member(Some(5));
    assert_eq!(duration(identity.clone()), None);
    identity.member.as_mut().unwrap().limits.budget_duration = Some(day);
    assert_eq!(duration(identity), Some(day));
}

#[test]
fn rate_limits_bind_the_user_over_all_its_teams() {
    let grant = Grant { limits: Limits { rpm_limit: Some(2), ..Limits::default() }, ..Grant::default() };
    let identity = Identity { user: user(None), team: team(None), ..Identity::default() };
    let narrowed = Narrowed::default().of(Arc::new(identity), Some(&grant));
    assert_eq!(narrowed.user.as_ref().unwrap().limits.rpm_limit, Some(2));
}

#[test]
fn one_snapshot_and_one_grant_give_one_identity() {
    let (kept, own) = (Narrowed::default(), personal(Some(5)));
    let first = kept.of(Arc::clone(&own), Some(&granted(1)));
    assert!(Arc::ptr_eq(&first, &kept.of(Arc::clone(&own), Some(&granted(1)))));
    assert!(!Arc::ptr_eq(&first, &kept.of(Arc::clone(&own), Some(&granted(2)))));
    assert!(Arc::ptr_eq(&own, &kept.of(Arc::clone(&own), Some(&Grant::default()))));
    assert!(Arc::ptr_eq(&own, &kept.of(Arc::clone(&own), None)));
}

proptest! {
    /// Whatever is granted, no limit of the directory is lifted and none falls away.
    #[test]
    fn a_grant_never_widens(
        user_budget in proptest::option::of(0..100i64),
        team_budget in proptest::option::of(0..100i64),
        member_budget in proptest::option::of(0..100i64),
        (has_user, has_team, has_member) in any::<(bool, bool, bool)>(),
        grant in 0..200i64,
    ) {
        let identity = Identity {
            user: has_user.then(|| user(user_budget)).flatten(),
            team: has_team.then(|| team(team_budget)).flatten(),
            member: (has_user && has_team && has_member).then(|| member(member_budget)).flatten(),
            ..Identity::default()
        };
        let before = binding(Arc::new(identity.clone()));
        let after = binding(narrowed(identity, grant));
        for (scope, limit) in before {
            let now = after.iter().find(|(other, _)| *other == scope);
            prop_assert!(now.is_some_and(|(_, now)| *now <= limit), "{scope:?}: {limit} became {now:?}");
        }
        if has_user || has_team {
            prop_assert!(after.iter().any(|(_, limit)| *limit <= grant), "{grant} binds: {after:?}");
        }
    }
}

#[test]
fn who_stands_alone_is_held_to_the_grant_and_one_grant_gives_one_identity() {
    let narrowed = Narrowed::default();
    let grant = |nanos| Grant { max_budget: Some(Money::nanos(nanos)), is_unchecked: true, ..Grant::default() };
    let of = |user: &str, nanos| narrowed.alone(Some(user.into()), None, Some("t".into()), &grant(nanos));
    let first = of("ada", 7);
    let budget = first.user.as_ref().unwrap().limits.max_budget.map(Money::as_nanos);
    assert_eq!((budget, first.team.as_ref().map(|team| &*team.team_id)), (Some(7), Some("t")));
    assert!(Arc::ptr_eq(&first, &of("ada", 7)));
    assert!(!Arc::ptr_eq(&first, &of("ada", 8)) && !Arc::ptr_eq(&first, &of("grace", 7)));
}
