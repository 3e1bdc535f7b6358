//! Claims that stand for keys.

use serde_json::json;

use super::house::{House, admin, admin_static, object, refused, with_role};
use super::*;

#[tokio::test]
async fn a_claim_is_mapped_changed_listed_and_deleted() {
    let house = House::new().await;
    let key = house.generate(&admin(), json!({"key_alias": "jobs"})).await.unwrap();
    let other = house.generate(&admin(), json!({"key_alias": "other"})).await.unwrap();
    let secret = key["key"].as_str().unwrap();
    let create = |params| house.manager.create_key_mapping(admin_static(), object(params));
    let update = |params| house.manager.update_key_mapping(admin_static(), object(params));
    let claim = json!({"jwt_claim_name": "client_id", "jwt_claim_value": "batch", "key": secret});
    let made = create(claim.clone()).await.unwrap();
    assert_eq!((&made["token"], &made["jwt_issuer"], &made["is_active"]), (&key["token"], &json!(null), &json!(true)));
    let stored = house.store.key_mapping("", "client_id", "batch").await.unwrap().unwrap();
    assert_eq!(json!(stored.id), made["id"]);

    assert_eq!(refused(create(claim).await), (400, Some("jwt_claim_value".to_owned())));
    let of_issuer = json!({
        "jwt_issuer": "https://issuer", "jwt_claim_name": "client_id", "jwt_claim_value": "batch", "key": other["token"],
        "description": "their jobs", "is_active": false, "nobody": 1,
    });
    let second = create(of_issuer).await.unwrap();
    assert_eq!((&second["token"], &second["description"]), (&other["token"], &json!("their jobs")));
    assert_eq!(second["is_active"], json!(false));
    assert!(second["warnings"][0].as_str().unwrap().contains("nobody"));

    let changed = update(json!({"id": second["id"], "is_active": true, "key": "jobs", "description": null})).await;
    let changed = changed.unwrap();
    assert_eq!((&changed["token"], &changed["is_active"]), (&key["token"], &json!(true)));
    assert_eq!((&changed["description"], &changed["jwt_issuer"]), (&json!(null), &json!("https://issuer")));
    let clash = update(json!({"id": second["id"], "jwt_issuer": null})).await;
    assert_eq!(refused(clash), (400, Some("jwt_claim_value".to_owned())));

    let page = house.manager.page_of_key_mappings(&admin(), object(json!({"size": 1}))).await.unwrap();
    assert_eq!((page["mappings"].as_array().unwrap().len(), &page["total"]), (1, &json!(2)));
    let id = made["id"].as_str().unwrap();
    assert_eq!(house.manager.key_mapping_info(&admin(), id).await.unwrap(), made);
    house.manager.delete_key_mapping(&admin(), id).await.unwrap();
    assert_eq!(refused(house.manager.key_mapping_info(&admin(), id).await).0, 404);
    let audit = house.audit();
    let lines: Vec<&str> = audit.iter().filter(|line| line[1] == "jwt_key_mappings").map(|line| &*line[0]).collect();
    assert_eq!(lines, ["created", "created", "updated", "deleted"]);
    assert!(audit.iter().all(|line| !line[3].contains(secret)));
}

#[tokio::test]
async fn a_mapping_goes_with_its_key() {
    let house = House::new().await;
    let key = house.generate(&admin(), json!({"key_alias": "jobs"})).await.unwrap();
    let claim = json!({"jwt_claim_name": "client_id", "jwt_claim_value": "batch", "key": key["key"]});
    let made = house.manager.create_key_mapping(&admin(), object(claim)).await.unwrap();
    house.manager.delete_keys(&admin(), object(json!({"keys": [key["key"]]}))).await.unwrap();
    assert_eq!(house.store.key_mapping("", "client_id", "batch").await.unwrap(), None);
    assert_eq!(refused(house.manager.key_mapping_info(&admin(), made["id"].as_str().unwrap()).await).0, 404);
}

#[tokio::test]
async fn what_maps_nothing_is_refused_and_only_administrators_map() {
    let house = House::new().await;
    house.generate(&admin(), json!({"key_alias": "jobs"})).await.unwrap();
    for (params, status, param) in [
        (json!({"jwt_claim_name": "a", "jwt_claim_value": "b"}), 422, "key"),
        (json!({"jwt_claim_name": "a", "jwt_claim_value": "b", "key": "sk-nobody-has-this"}), 404, "key"),
        (json!({"jwt_claim_value": "b", "key": "jobs"}), 422, "jwt_claim_name"),
        (json!({"jwt_claim_name": "a", "jwt_claim_value": "", "key": "jobs"}), 422, "jwt_claim_value"),
        (json!({"jwt_claim_name": "a", "jwt_claim_value": 7, "key": "jobs"}), 422, "jwt_claim_value"),
        (json!({"jwt_claim_name": "a", "jwt_claim_value": "b\n", "key": "jobs"}), 400, "jwt_claim_value"),
        (json!({"jwt_claim_name": "a", "jwt_claim_value": "b", "key": "jobs", "is_active": "x"}), 422, "is_active"),
    ] {
        let shown = params.to_string();
        let got = refused(house.manager.create_key_mapping(&admin(), object(params)).await);
        assert_eq!(got, (status, Some(param.to_owned())), "{shown}");
    }
    let claim = || object(json!({"jwt_claim_name": "a", "jwt_claim_value": "b", "key": "jobs"}));
    for role in [Role::ProxyAdminViewer, Role::InternalUser, Role::Team] {
        assert_eq!(refused(house.manager.create_key_mapping(&with_role(role), claim()).await).0, 403, "{role:?}");
        assert_eq!(refused(house.manager.delete_key_mapping(&with_role(role), "x").await).0, 403, "{role:?}");
        let update = house.manager.update_key_mapping(&with_role(role), object(json!({"id": "x"}))).await;
        assert_eq!(refused(update).0, 403, "{role:?}");
    }
    let granted = with_role(Role::InternalUser).with_granted_route(true);
    assert_eq!(refused(house.manager.create_key_mapping(&granted, claim()).await).0, 403, "the route is not enough");
    assert_eq!(refused(house.manager.delete_key_mapping(&granted, "x").await).0, 403);
    assert_eq!(refused(house.manager.update_key_mapping(&granted, object(json!({"id": "x"}))).await).0, 403);
    let listed = house.manager.page_of_key_mappings(&with_role(Role::InternalUser), Params::new()).await;
    assert_eq!(refused(listed).0, 403);
    let empty = json!({"id": "x"});
    assert_eq!(refused(house.manager.update_key_mapping(&admin(), object(empty)).await), (404, Some("id".to_owned())));
}
