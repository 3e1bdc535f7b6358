//! `/team/…`, `/user/…`, `/organization/…`, `/budget/…`, `/customer/…`, `/tag/…`, `/jwt/key/mapping/…`.

use axum::extract::State;
use axum::routing::{delete, get, patch, post};
use axum::{Extension, Router};

use super::HttpState;
use super::answer::{Answer, Json};
use super::params::Params;
use crate::manage::{Actor, Attributes, ManageError};

type Caller = Extension<Actor>;
type Api = State<HttpState>;

pub(super) fn router() -> Router<HttpState> {
    Router::new()
        .route("/team/new", post(team_new))
        .route("/team/info", get(team_info).post(team_info))
        .route("/team/list", get(team_list))
        .route("/v2/team/list", get(team_page))
        .route("/team/update", post(team_update))
        .route("/team/delete", post(team_delete))
        .route("/team/block", post(team_block))
        .route("/team/unblock", post(team_unblock))
        .route("/team/member_add", post(member_add))
        .route("/team/member_delete", post(member_delete))
        .route("/user/new", post(user_new))
        .route("/user/info", get(user_info).post(user_info))
        .route("/user/list", get(user_list))
        .route("/user/update", post(user_update))
        .route("/user/delete", post(user_delete))
        .route("/organization/new", post(organization_new))
        .route("/organization/info", get(organization_info).post(organization_info))
        .route("/organization/update", patch(organization_update).post(organization_update))
        .route("/organization/delete", delete(organization_delete).post(organization_delete))
        .route("/budget/new", post(budget_new))
        .route("/budget/update", post(budget_update))
        .route("/budget/info", post(budget_info))
        .route("/budget/delete", post(budget_delete))
        .route("/customer/new", post(customer_new))
        .route("/customer/update", post(customer_update))
        .route("/customer/info", get(customer_info).post(customer_info))
        .route("/customer/block", post(customer_block))
        .route("/customer/unblock", post(customer_unblock))
        .route("/tag/new", post(tag_new))
        .route("/tag/update", post(tag_update))
        .route("/tag/list", get(tag_list))
        .route("/jwt/key/mapping/new", post(key_mapping_new))
        .route("/jwt/key/mapping/update", post(key_mapping_update))
        .route("/jwt/key/mapping/delete", post(key_mapping_delete))
        .route("/jwt/key/mapping/list", get(key_mapping_list))
        .route("/jwt/key/mapping/info", get(key_mapping_info))
        .route("/ledger/verify", get(ledger_verify))
}

async fn team_new(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().create_team(&actor, params).await?))
}

async fn team_info(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    let id = Attributes::new(params).required("team_id")?;
    Ok(Json(api.manager().team_info(&actor, &id).await?))
}

async fn team_list(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().teams_of(&actor, params).await?))
}

async fn team_page(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().page_of_teams(&actor, params).await?))
}

async fn team_update(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().update_team(&actor, params).await?))
}

async fn team_delete(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().delete_teams(&actor, params).await?))
}

async fn team_block(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    let id = Attributes::new(params).required("team_id")?;
    Ok(Json(api.manager().block_team(&actor, &id, true).await?))
}

async fn team_unblock(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    let id = Attributes::new(params).required("team_id")?;
    Ok(Json(api.manager().block_team(&actor, &id, false).await?))
}

async fn member_add(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().add_members(&actor, params).await?))
}

async fn member_delete(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().delete_member(&actor, params).await?))
}

async fn user_new(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().create_user(&actor, params).await?.reveal()))
}

async fn user_info(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    let id = Attributes::new(params).text("user_id")?;
    Ok(Json(api.manager().user_info(&actor, id.as_deref()).await?))
}

async fn user_list(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().page_of_users(&actor, params).await?))
}

async fn user_update(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().update_user(&actor, params).await?))
}

async fn user_delete(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().delete_users(&actor, params).await?))
}

async fn organization_new(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().create_organization(&actor, params).await?))
}

async fn organization_info(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    let id = Attributes::new(params).required("organization_id")?;
    Ok(Json(api.manager().organization_info(&actor, &id).await?))
}

async fn organization_update(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().update_organization(&actor, params).await?))
}

async fn organization_delete(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().delete_organizations(&actor, params).await?))
}

async fn budget_new(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().create_budget(&actor, params).await?))
}

async fn budget_update(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().update_budget(&actor, params).await?))
}

async fn budget_info(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    let ids = Attributes::new(params).texts("budgets")?;
    Ok(Json(api.manager().budget_info(&actor, &ids).await?))
}

async fn budget_delete(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    let id = Attributes::new(params).required("id")?;
    Ok(Json(api.manager().delete_budget(&actor, &id).await?))
}

async fn customer_new(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().create_end_user(&actor, params).await?))
}

async fn customer_update(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().update_end_user(&actor, params).await?))
}

async fn customer_info(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    let id = Attributes::new(params).required("end_user_id")?;
    Ok(Json(api.manager().end_user_info(&actor, &id).await?))
}

async fn customer_block(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().block_end_users(&actor, params, true).await?))
}

async fn customer_unblock(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().block_end_users(&actor, params, false).await?))
}

async fn tag_new(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().create_tag(&actor, params).await?))
}

async fn tag_update(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().update_tag(&actor, params).await?))
}

async fn tag_list(State(api): Api, Extension(actor): Caller) -> Answer {
    Ok(Json(api.manager().list_tags(&actor).await?))
}

async fn key_mapping_new(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().create_key_mapping(&actor, params).await?))
}

async fn key_mapping_update(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().update_key_mapping(&actor, params).await?))
}

async fn key_mapping_delete(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    let id = Attributes::new(params).required("id")?;
    Ok(Json(api.manager().delete_key_mapping(&actor, &id).await?))
}

async fn key_mapping_list(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().page_of_key_mappings(&actor, params).await?))
}

async fn key_mapping_info(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    let id = Attributes::new(params).required("id")?;
    Ok(Json(api.manager().key_mapping_info(&actor, &id).await?))
}

async fn ledger_verify(State(api): Api, Extension(actor): Caller) -> Answer {
    if !actor.is_admin() {
        return Err(ManageError::forbidden("only a proxy_admin may do this").into());
    }
    let proof = api.adjuster.verify().await.map_err(ManageError::from)?;
    Ok(Json(serde_json::json!(proof)))
}
