//! When the directory is down, and who may only look.

use super::*;

#[tokio::test]
async fn a_directory_that_is_down_is_our_trouble_and_not_the_callers() {
    let house = House::new();
    house.memory.0.lock().down = true;
    let error = house.generate(&admin(), json!({"key_alias": "a"})).await.unwrap_err();
    assert_eq!((error.status, error.kind), (503, "no_db_connection"));
    assert!(!error.message.contains("disk"), "what is wrong inside is not for callers");
}

#[tokio::test]
async fn viewers_see_and_do_not_touch() {
    let house = House::new();
    let viewer = house.user("v", json!({"user_role": "proxy_admin_viewer"})).await;
    assert_eq!(viewer.caller.role, Role::ProxyAdminViewer);
    let name = KeyName::new(house.generate(&admin(), json!({})).await.unwrap()["key"].as_str().unwrap());
    house.manager.key_info(&viewer, Some(&name)).await.unwrap();
    house.manager.list_users(&viewer, 0, 10).await.unwrap();
    assert_eq!(refused(house.manager.block_key(&viewer, &name, true).await).0, 403);
    assert_eq!(refused(house.manager.regenerate_key(&viewer, Some(&name), Params::new()).await).0, 403);
}
