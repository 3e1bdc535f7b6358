//! `/key/…`.

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Extension, Router};

use super::HttpState;
use super::answer::{Answer, Json};
use super::params::Params;
use crate::manage::{Actor, Attributes, KeyName};

pub(super) fn router() -> Router<HttpState> {
    Router::new()
        .route("/key/generate", post(generate))
        .route("/key/service-account/generate", post(generate_service_account))
        .route("/key/info", get(info).post(info))
        .route("/v2/key/info", post(infos))
        .route("/key/aliases", get(aliases))
        .route("/key/{key}/reset_spend", post(reset_spend))
        .route("/key/update", post(update))
        .route("/key/delete", post(delete))
        .route("/key/block", post(block))
        .route("/key/unblock", post(unblock))
        .route("/key/regenerate", post(regenerate))
        .route("/key/{key}/regenerate", post(regenerate_named))
        .route("/key/list", get(list).post(list))
}

type Caller = Extension<Actor>;
type Api = State<HttpState>;

async fn generate(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().generate_key(&actor, params).await?.reveal()))
}

async fn generate_service_account(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().generate_service_account(&actor, params).await?.reveal()))
}

async fn info(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    let name = Attributes::new(params).text("key")?.map(KeyName::new);
    Ok(Json(api.manager().key_info(&actor, name.as_ref()).await?))
}

async fn infos(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().keys_info(&actor, params).await?))
}

async fn aliases(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().key_aliases(&actor, params).await?))
}

async fn reset_spend(
    State(api): Api,
    Extension(actor): Caller,
    Path(key): Path<String>,
    Params(params): Params,
) -> Answer {
    Ok(Json(api.manager().reset_spend(&actor, &KeyName::new(key), params).await?))
}

async fn update(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().update_key(&actor, params).await?))
}

async fn delete(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().delete_keys(&actor, params).await?))
}

async fn block(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    let name = KeyName::new(Attributes::new(params).required("key")?);
    Ok(Json(api.manager().block_key(&actor, &name, true).await?))
}

async fn unblock(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    let name = KeyName::new(Attributes::new(params).required("key")?);
    Ok(Json(api.manager().block_key(&actor, &name, false).await?))
}

async fn regenerate(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().regenerate_key(&actor, None, params).await?.reveal()))
}

async fn regenerate_named(
    State(api): Api,
    Extension(actor): Caller,
    Path(key): Path<String>,
    Params(mut params): Params,
) -> Answer {
    // The path names the key; what the body says of it is a copy.
    params.remove("key");
    Ok(Json(api.manager().regenerate_key(&actor, Some(&KeyName::new(key)), params).await?.reveal()))
}

async fn list(State(api): Api, Extension(actor): Caller, Params(params): Params) -> Answer {
    Ok(Json(api.manager().list_keys(&actor, params).await?))
}
