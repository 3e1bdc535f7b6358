//! The model a request asks for. Body, path, query and headers may each name it; all that do must agree, since gateways
//! differ in which of them they follow.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{BodyView, HttpRequest, Route, query};
use crate::domain::{Api, Denial, ErrorType};

/// Characters of a name that a message repeats.
const SHOWN: usize = 64;
/// Bytes the name of one model may have: it is booked with what it costs, and a database indexes it.
const MAX_NAME: usize = 256;
/// Bytes of a list of them.
const MAX_LIST: usize = 8 * 1024;

/// The model all sources agree on, or `None` where none names one. A list of models is text with commas.
///
/// # Errors
/// 400 where two sources disagree, a name cannot be read, or one is too long; those of fallbacks and helpers too.
pub fn read<'a>(
    http: &HttpRequest<'a>,
    route: &Route<'a>,
    body: Option<&BodyView<'a>>,
) -> Result<Option<Cow<'a, str>>, Denial> {
    if route.api == Api::NotModel {
        return Ok(None);
    }
    let mut names: SmallVec<[Cow<'a, str>; 4]> = SmallVec::new();
    names.extend(route.model.clone());
    if let Some(body) = body {
        names.extend(body.model.clone());
        names.extend(body.other_models.iter().cloned());
    }
    // Azure names the deployment there where a socket is opened.
    let deployment = route.path.split('/').any(|segment| segment == "realtime").then_some("deployment");
    for name in ["model", "target_model_names"].into_iter().chain(deployment) {
        for value in query::values(route.query, name) {
            names.push(value.ok_or_else(|| refuse("The query names a model that cannot be read."))?);
        }
    }
    if takes_header(&route.path) {
        for value in http.headers.all("x-litellm-model") {
            let value = std::str::from_utf8(value.trim_ascii());
            names.push(Cow::Borrowed(value.map_err(|_| refuse("A header names a model that cannot be read."))?));
        }
    }
    names.retain(|name| !name.trim().is_empty());
    if names.iter().any(|name| name.chars().any(char::is_control)) {
        return Err(refuse("The name of the model cannot be read."));
    }
    let others = body.iter().flat_map(|body| body.fallback_models.iter().chain(&body.helper_models));
    if names.iter().chain(others).any(|name| is_too_long(name)) {
        return Err(refuse(format!("The name of the model is longer than {MAX_NAME} bytes.")));
    }
    let is_google = matches!(route.api, Api::GeminiGenerate | Api::GeminiEmbed) || is_google_path(route);
    let bare = |name: &str| -> usize { if is_google && name.starts_with("models/") { "models/".len() } else { 0 } };
    let mut names = names.into_iter();
    let Some(first) = names.next() else { return Ok(None) };
    let first = skip(first, bare);
    for other in names {
        let other = skip(other, bare);
        if other != first {
            let message = format!("The request names two models: {} and {}.", shown(&first), shown(&other));
            return Err(refuse(message));
        }
    }
    Ok(Some(first))
}

/// Whether a name is, or a list of names holds one that is.
fn is_too_long(names: &str) -> bool {
    names.len() > MAX_NAME && (names.len() > MAX_LIST || names.split(',').any(|name| name.trim().len() > MAX_NAME))
}

/// Google's own names of models begin with the collection.
fn is_google_path(route: &Route<'_>) -> bool {
    route.model.is_some() && route.path.contains("models/")
}

fn skip<'a>(name: Cow<'a, str>, bare: impl Fn(&str) -> usize) -> Cow<'a, str> {
    match (bare(&name), name) {
        (0, name) => name,
        (from, Cow::Borrowed(name)) => Cow::Borrowed(name.get(from..).unwrap_or(name)),
        (from, Cow::Owned(name)) => Cow::Owned(name.get(from..).unwrap_or(&name).to_owned()),
    }
}

/// Whether the path belongs to the APIs whose model a header may name.
fn takes_header(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "files" | "batches" | "skills" | "evals"))
}

fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(SHOWN).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn refuse(message: impl Into<String>) -> Denial {
    Denial::new(ErrorType::BadRequest, "model.mismatch", message).param("model")
}
