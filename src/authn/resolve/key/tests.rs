use super::*;
use crate::authn::testing::{House, KEY};
use crate::authz::models::Catalog;
use crate::config::Config;
use crate::directory::testing::audit;

const ISSUER: &str = "https://issuer";

async fn map(house: &House, issuer: &str, value: &str, is_active: bool) {
    let mapping = KeyMapping {
        id: format!("{issuer} {value}"),
        jwt_issuer: issuer.to_owned(),
        jwt_claim_name: "client".to_owned(),
        jwt_claim_value: value.to_owned(),
        token: KeyHash::of(KEY),
        description: None,
        is_active,
        created_at: Timestamp::millis(0),
        updated_at: Timestamp::millis(0),
    };
    house.directory.store().put_key_mapping(&mapping, None, true, audit()).await.unwrap();
}

#[tokio::test]
async fn a_mapping_that_is_switched_off_refuses_its_claim_whatever_becomes_of_others() {
    const OFF: Result<bool, &str> = Err("jwt.key_claim_unknown");
    let house = House::of(Config::default()).await;
    let catalog = Arc::new(Catalog::new(&Config::default(), Arc::new(|_: &str| None)));
    let resolver = Resolver::new(&Config::default(), Arc::clone(&house.directory), catalog);
    // Whether there is a mapping of the issuer and of any issuer, and whether it is active; and whether a key is found.
    for (case, of_issuer, of_any, expected) in [
        ("none", None, None, Ok(false)),
        ("on", Some(true), None, Ok(true)),
        ("any on", None, Some(true), Ok(true)),
        ("on, any off", Some(true), Some(false), Ok(true)),
        ("off", Some(false), None, OFF),
        ("any off", None, Some(false), OFF),
        ("off, any on", Some(false), Some(true), OFF),
    ] {
        for (issuer, is_active) in [(ISSUER, of_issuer), ("", of_any)] {
            if let Some(is_active) = is_active {
                map(&house, issuer, case, is_active).await;
            }
        }
        for unregistered in [Unregistered::FallbackTeamMapping, Unregistered::AutoRegister, Unregistered::Reject] {
            let claim = KeyClaim {
                issuer: ISSUER.into(),
                claim: "client".into(),
                value: Some(case.into()),
                unregistered,
                map_existing: false,
            };
            let found = resolver.mapped(&claim, &mut Trace::on()).await;
            let found = found.map(|key| key.is_some()).map_err(|denial| (denial.status, denial.reason));
            let unknown = unregistered == Unregistered::Reject && expected == Ok(false);
            let expected = if unknown { OFF } else { expected }.map_err(|reason| (403, reason.into()));
            assert_eq!(found, expected, "{case}: {unregistered:?}");
        }
    }
}
