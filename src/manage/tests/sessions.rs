//! Sessions issued and ended by hand.

use serde_json::json;

use super::house::{House, admin, object, refused, with_role};
use super::*;

#[tokio::test]
async fn only_administrators_issue_and_revoke_sessions() {
    let house = House::new().await;
    let user = object(json!({"user_id": "ada", "auto_create_key": false}));
    house.manager.create_user(&admin(), user).await.unwrap();
    let issued = house.manager.issue_session(&admin(), "ada", None, None).await.unwrap().reveal();
    assert!(issued["token"].as_str().unwrap().starts_with("tollward_session_"));
    let sid = issued["sid"].as_str().unwrap();
    let listed = house.manager.list_sessions(&admin(), "ada").await.unwrap();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["sid"]), (1, &issued["sid"]));
    assert!(listed[0].get("token").is_none());
    for role in [Role::ProxyAdminViewer, Role::InternalUser] {
        let actor = with_role(role);
        assert_eq!(refused(house.manager.issue_session(&actor, "ada", None, None).await).0, 403);
        assert_eq!(refused(house.manager.revoke_session(&actor, sid).await).0, 403);
        assert_eq!(refused(house.manager.revoke_sessions(&actor, "ada").await).0, 403);
    }
    let nobody = house.manager.issue_session(&admin(), "bob", None, None).await;
    assert_eq!(refused(nobody), (404, Some("user_id".to_owned())));
    assert_eq!(house.manager.revoke_sessions(&admin(), "ada").await.unwrap()["revoked"], json!(1));
    assert_eq!(refused(house.manager.revoke_session(&admin(), "unknown").await).0, 404);
}
