use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::domain::{
    Account, Api, Binding, CounterKey, HoldId, KeyHash, Kind, Limit, Money, Parties, Period, Scope, ScopeKind,
    Timestamp, Window,
};

fn text() -> impl Strategy<Value = Arc<str>> {
    ".{0,20}".prop_map(Arc::from)
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        Just(Scope::global()),
        "[a-c%:]{0,3}".prop_map(|name| Scope::new(ScopeKind::Team, &[&name])),
        ("[a-c]", ".{0,9}").prop_map(|(team, user)| Scope::new(ScopeKind::ModelPerMember, &[&team, &user])),
    ]
}

fn period() -> impl Strategy<Value = Period> {
    let own = ("[a-z0-9@]{0,4}", any::<i64>(), any::<i64>()).prop_map(|(id, start, end)| Period {
        id: id.into(),
        start: Timestamp::millis(start),
        end: Timestamp::millis(end),
    });
    prop_oneof![Just(Period::total()), own]
}

fn charge() -> impl Strategy<Value = (Limit, i64)> {
    let kind = prop_oneof![Just(Kind::Requests), Just(Kind::Tokens), Just(Kind::InFlight), Just(Kind::Spend)];
    let window = prop_oneof![Just(Window::Minute), Just(Window::InFlight), period().prop_map(Window::Period)];
    (scope(), kind, window, any::<i64>(), any::<i64>(), option::of(any::<i64>())).prop_map(
        |(scope, kind, window, amount, limit, soft)| {
            let counter = CounterKey { scope, kind, window };
            (Limit { counter, limit, soft_limit: soft.map(Money::nanos) }, amount)
        },
    )
}

fn parties() -> impl Strategy<Value = Parties> {
    let ids = (option::of(text()), option::of(text()), option::of(text()), option::of(text()), option::of(text()));
    (option::of(any::<[u8; 32]>()), ids, vec(text(), 0..4)).prop_map(
        |(key, (user_id, team_id, organization_id, project_id, end_user_id), tags)| Parties {
            key: key.map(KeyHash::new),
            user_id,
            team_id,
            organization_id,
            project_id,
            end_user_id,
            tags,
        },
    )
}

fn hold() -> impl Strategy<Value = Hold> {
    let account = (scope(), period()).prop_map(|(scope, period)| Account { scope, period });
    (
        (any::<[u8; 16]>(), any::<i64>(), vec(charge(), 0..9), vec(account, 0..9), parties()),
        (text(), text(), text(), any::<u64>(), any::<u64>(), any::<i64>(), any::<bool>()),
        (select(Api::ALL.to_vec()), any::<u64>()),
    )
        .prop_map(
            |(
                (id, admitted_at, charges, accounts, parties),
                (model, priced_as, price_version, input_tokens, output_tokens, estimate, bounded),
                (api, input_characters),
            )| Hold {
                id: HoldId::new(id),
                admitted_at: Timestamp::millis(admitted_at),
                amounts: charges.iter().map(|(_, amount)| *amount).collect(),
                binding: Arc::new(Binding::new(
                    charges.into_iter().map(|(limit, _)| limit).collect(),
                    accounts,
                    parties,
                    model,
                )),
                api,
                priced_as,
                price_version,
                input_tokens,
                input_characters,
                output_tokens,
                estimate: Money::nanos(estimate),
                bounded,
            },
        )
}

/// The hold as it comes back: limits do not travel.
fn without_limits(hold: Hold) -> Hold {
    let Binding { accounts, parties, model, .. } = &*hold.binding;
    let bare = |limit: &Limit| Limit { limit: 0, soft_limit: None, ..limit.clone() };
    let limits = hold.binding.limits().iter().map(bare).collect();
    let binding = Binding::new(limits, accounts.clone(), parties.clone(), Arc::clone(model));
    Hold { binding: Arc::new(binding), ..hold }
}

/// The bytes behind the version.
fn write(hold: &Hold, out: &mut Vec<u8>) {
    wire::write_binding(&hold.binding, out);
    wire::write_hold(hold, out);
}

proptest! {
    #[test]
    fn every_field_but_the_limits_comes_back(hold in hold()) {
        let signer = Signer::new(&[7; 32]);
        prop_assert_eq!(signer.verify(&signer.sign(&hold)), Ok(without_limits(hold)));
    }

    #[test]
    fn another_character_anywhere_is_refused(hold in hold(), at: prop::sample::Index, to in "[A-Za-z0-9_+/=-]") {
        let signer = Signer::new(&[7; 32]);
        let token = signer.sign(&hold);
        let at = at.index(token.len());
        let forged = format!("{}{to}{}", &token[..at], &token[at + 1..]);
        prop_assume!(forged != token);
        prop_assert!(signer.verify(&forged).is_err());
    }

    #[test]
    fn every_flipped_bit_is_refused(hold in hold(), at: prop::sample::Index, bit in 0..8u8) {
        let signer = Signer::new(&[7; 32]);
        let mut bytes = URL_SAFE_NO_PAD.decode(signer.sign(&hold)).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        prop_assert_eq!(signer.verify(&URL_SAFE_NO_PAD.encode(bytes)), Err(TokenError::Signature));
    }

    #[test]
    fn a_token_cut_short_or_made_longer_is_refused(hold in hold(), at: prop::sample::Index) {
        let signer = Signer::new(&[7; 32]);
        let token = signer.sign(&hold);
        prop_assert!(signer.verify(&token[..at.index(token.len())]).is_err());
        let longer = format!("{token}AAAA");
        prop_assert!(signer.verify(&longer).is_err());
    }

    #[test]
    fn signed_nonsense_is_refused_without_harm(body in vec(any::<u8>(), 0..200)) {
        // Whatever happens to be a hold is one with these very bytes' meaning; all else is malformed.
        if let Some(hold) = wire::read(&body) {
            let mut again = Vec::new();
            write(&hold, &mut again);
            prop_assert_eq!(wire::read(&again), Some(hold));
        }
    }

    #[test]
    fn a_hold_with_changed_bytes_never_harms_its_reader(hold in hold(), at: prop::sample::Index, byte: u8) {
        let mut body = Vec::new();
        write(&hold, &mut body);
        let at = at.index(body.len());
        body[at] = byte;
        let _ = wire::read(&body);
        prop_assert_eq!(wire::read(&body[..at]), None);
    }
}

fn signed(signer: &Signer, mut bytes: Vec<u8>) -> String {
    let tag = signer.tag(&bytes);
    bytes.extend_from_slice(tag.as_ref());
    URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn what_is_not_a_token_of_this_key_and_version_is_refused() {
    let signer = Signer::new(&[7; 32]);
    let other = Signer::new(&[8; 32]);
    for (token, error) in [
        (String::new(), TokenError::Signature),
        ("AAAA".to_owned(), TokenError::Signature),
        ("not a token".to_owned(), TokenError::Encoding),
        ("A".repeat(MAX_TOKEN + 1), TokenError::TooLong),
        (signed(&other, vec![VERSION]), TokenError::Signature),
        (signed(&signer, vec![]), TokenError::Version),
        (signed(&signer, vec![VERSION + 1]), TokenError::Version),
        (signed(&signer, vec![VERSION]), TokenError::Malformed),
        // A list that claims more elements than there can be.
        (signed(&signer, [[VERSION].as_slice(), &[0xff; 9], &[1]].concat()), TokenError::Malformed),
    ] {
        assert_eq!(signer.verify(&token), Err(error), "{token:.20}");
    }
}

#[test]
fn a_hold_of_nine_charges_stays_a_short_token() {
    let names = [ScopeKind::Key, ScopeKind::Team, ScopeKind::User, ScopeKind::Organization];
    let scopes: Vec<Scope> = names.into_iter().map(|kind| Scope::new(kind, &[&"a1".repeat(32)])).collect();
    let minute = |scope: &Scope, kind| Limit {
        counter: CounterKey { scope: scope.clone(), kind, window: Window::Minute },
        limit: 100_000,
        soft_limit: None,
    };
    let mut limits: Vec<Limit> =
        scopes.iter().flat_map(|scope| [minute(scope, Kind::Requests), minute(scope, Kind::Tokens)]).collect();
    let counter = CounterKey { scope: scopes[0].clone(), kind: Kind::Spend, window: Window::Period(Period::total()) };
    limits.push(Limit { counter, limit: 5, soft_limit: None });
    let amounts = limits.iter().map(|_| 4_000).collect();
    let accounts = scopes.iter().map(|scope| Account { scope: scope.clone(), period: Period::total() }).collect();
    let parties = Parties { key: Some(KeyHash::new([1; 32])), ..Parties::default() };
    let hold = Hold {
        id: HoldId::new([1; 16]),
        admitted_at: Timestamp::millis(1_800_000_000_000),
        binding: Arc::new(Binding::new(limits, accounts, parties, "gpt-4o-mini".into())),
        amounts,
        api: Api::OpenAiChat,
        priced_as: "gpt-4o-mini".into(),
        price_version: "2026-11-01".into(),
        input_tokens: 1_000,
        input_characters: 4_000,
        output_tokens: 4_096,
        estimate: Money::nanos(2_000_000),
        bounded: true,
    };
    assert!(Signer::new(&[7; 32]).sign(&hold).len() < 800);
}

#[test]
fn holds_of_one_binding_are_signed_as_those_of_bindings_of_their_own() {
    let (signer, other) = (Signer::new(&[7; 32]), Signer::new(&[8; 32]));
    let counter = CounterKey { scope: Scope::global(), kind: Kind::Requests, window: Window::Minute };
    let limits = vec![Limit { counter, limit: 5, soft_limit: None }];
    let binding = Arc::new(Binding::new(limits, Vec::new(), Parties::default(), "m".into()));
    let hold = |id| Hold {
        id: HoldId::new([id; 16]),
        admitted_at: Timestamp::millis(i64::from(id)),
        binding: Arc::clone(&binding),
        amounts: [i64::from(id)].into_iter().collect(),
        api: Api::OpenAiChat,
        priced_as: "m".into(),
        price_version: "v".into(),
        input_tokens: 1,
        input_characters: 2,
        output_tokens: 3,
        estimate: Money::nanos(4),
        bounded: true,
    };
    for id in 1..4 {
        let own = Hold { binding: Arc::new(Binding::clone(&binding)), ..hold(id) };
        assert_eq!(signer.sign(&hold(id)), signer.sign(&own));
        assert_eq!(other.verify(&other.sign(&hold(id))).map(|hold| hold.id), Ok(own.id));
        assert_eq!(other.verify(&signer.sign(&hold(id))), Err(TokenError::Signature));
    }
}
